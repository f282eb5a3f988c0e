/**
 * Every bound on what a peer can make us hold, with where its number comes from. Those in `defaults` can be set by an
 * option; the others follow from the wire or from how the loop is built. Sizes are in bytes, times in milliseconds.
 * 0 switches off a bound that has an option.
 */

const KiB = 1024;
const MiB = 1024 * KiB;

/** RFC 6455 §5.5: a control frame carries at most 125 bytes. */
export const maxControlPayload = 125;

/** RFC 6455 §5.5.1: the close code takes two of a control frame's 125 bytes. */
export const maxCloseReason = maxControlPayload - 2;

/** The longest header: 2 bytes, a 64-bit length, a masking key (RFC 6455 §5.2). */
export const maxFrameHeader = 14;

/** Fields of one HTTP head. Apache's LimitRequestFields is 100, Node's maxHeadersCount 2000. */
export const maxHeaderFields = 100;

/** A line between the chunks of an HTTP body: a size, its extensions, a trailer field. Apache's LimitRequestLine is 8190. */
export const maxChunkLine = 1 * KiB;

/** Trailer fields behind such a body. They are discarded, so they are few. */
export const maxTrailerFields = 16;

/** The longest message where `maxMessage` is switched off: what Node 20 can hold in one piece, less what inflating adds. */
export const longestMessage = 4 * 1024 * MiB - KiB;

/**
 * How much longer than itself a message may be when compressed: what does not compress grows a little, at most by an
 * eighth (zlib's `deflateBound`, for the least memory). What it inflates to is bounded anyhow.
 */
export const deflateGrowth = 1.13;

/** The longest HTTP head where `maxHeader` is switched off: it is read as one piece, so there has to be an end. */
export const longestHeader = 1 * MiB;

/**
 * Fragments of one message, empty ones above all: bytes alone do not bound their count. A 16 MiB message in 64-byte
 * fragments has 262,144; ws bounds its buffered chunks likewise (1,048,576).
 */
export const maxFragments = 1_048_576;

/** DEFLATE streams in one message (RFC 7692 §7.2.3.4). Senders make one, or two where they end it with BFINAL. */
export const maxStreams = 16;

export const defaults = {
  /** Largest message, and largest frame. As `permessage-deflate` can multiply by 1,000, it holds while inflating, too. */
  maxMessage: 16 * MiB,
  /** Largest HTTP head. Node's own HTTP server and nginx (4 buffers of 8 KiB) take 16 to 32 KiB. */
  maxHeader: 16 * KiB,
  /** Unsent bytes a connection may owe before a broadcast gives it up (1013). redis gives its pub/sub clients 8 to 32 MB. */
  maxBuffered: 1 * MiB,
  /** Connections at once; 0: as many as the system's descriptors allow. */
  maxConnections: 0,
  /** Clients of one address: half of the places. nginx (limit_conn) and HAProxy (stick tables) have no default. */
  maxPerAddress: 'half',
  /** From accept to the end of the opening handshake. nginx's client_header_timeout is 60 s, ws's none. */
  handshakeTimeout: 10_000,
  /** Silence after which a module that greets speaks to a new connection; 0: never, as browsers open connections ahead of need. */
  greetingDelay: 0,
  /** Silence after which a ping is sent. Proxies drop at 30 s (HAProxy, AWS ALB at 60 s). */
  pingInterval: 25_000,
  /** From an unanswered ping to giving the connection up. websockets (Python) takes 20 s for either. */
  pongTimeout: 20_000,
  /** Without any message (pings do not count); 0: never. */
  idleTimeout: 0,
  /** From our close frame to the end of the TCP connection. ws takes 30 s, websockets (Python) 10 s. */
  closeTimeout: 10_000,
  /** Without any request of a client that comes by HTTP: then it is gone. socket.io's clients have 45 s (ping and timeout). */
  pollTimeout: 60_000,
  /** To load a module of the user's, in a process of its own. Most take a few milliseconds. */
  loadTimeout: 5000,
  /** How long the version before is kept, to take over again from one that throws. */
  rollbackWindow: 10_000,
  /** What a handler waits for may take so long: nginx's proxy_read_timeout. */
  handlerTimeout: 60_000,
  /** A turn that a handler makes longer than this is said to be slow. Node's own advice is a few milliseconds. */
  slowHandler: 200,
  /** From SIGTERM to the end, whoever is still there. */
  drainTimeout: 10_000,
  /** Programs that run for one connection each (`--exec`). Apache's MaxRequestWorkers is 256 to 400, websocketd has no bound. */
  execMax: 100,
  /** From the end of its stdin to SIGTERM for a program, and from that to SIGKILL. websocketd takes some 0.1 to 0.5 s. */
  execGrace: 5000,
} as const;

/** What a connection takes that holds nothing: a record, a handle, an entry in the table. Measured: 2.8 KiB. */
export const connectionMemory = 3 * KiB;

/** The same over TLS: Node's two streams and OpenSSL's state. Measured: 30 KiB. */
export const tlsMemory = 32 * KiB;

/** Long buffers that are kept for the next messages, in bytes: one that holds the longest message, by default. */
export const keptBuffers = 17 * MiB;

/** The part of `maxMemory` that rooms' histories may take before the longest of them forget. */
export const historyMemoryShare = 1 / 4;

/** The part of `maxMemory` that input of programs may take after their clients have left. */
export const programMemoryShare = 1 / 4;

/**
 * When more than the first part of `maxMemory` is in use, connections are closed until the second is: not one in every
 * turn. The rest is for memory that is free, but that Node's collector has not returned yet.
 */
export const memoryHighWater = 7 / 8;
export const memoryLowWater = 13 / 16;

/** Bytes in flight up to which a connection that is closed to free memory is still sent the reason. */
export const maxInFlightOnEviction = 16 * KiB;

/**
 * What one connection may use of a turn before the others get theirs: each message, each recipient of it and each 256
 * bytes of it count one, what goes through zlib more (see deflate.ts). About a millisecond's work.
 */
export const turnShare = 8192;

/** A large message is inflated in calls that give at most so many bytes, and take a quarter: tenths of a millisecond. */
export const inflateSlice = 64 * KiB;

/**
 * The largest message that is compressed whatever time it takes, and the most that is compressed of one message for its
 * recipients' different windows: ten to twenty milliseconds if it does not compress.
 */
export const largestDeflated = 1 * MiB;

/**
 * A larger one, up to a bound, is compressed if no more than this comes out: five to twenty milliseconds as well. RFC 7692
 * §6 leaves it to the sender which messages are compressed.
 */
export const largestOutput = 512 * KiB;
export const largestTried = 16 * MiB;

/** What all messages of those that bring little may use of a turn: some eight milliseconds. Others wait for the next. */
export const messagesShare = 8 * turnShare;

/** What connections in a handshake, and HTTP requests, may use of a turn, all together: some 40 of them. */
export const openingShare = 2 * turnShare;

/** What those may use of a turn whose last messages were more work than `costlyWork`, all together. */
export const costlyShare = 2 * turnShare;
export const costlyWork = turnShare / 8;

/** What those who had their share of the last turn may use of the next, all together. */
export const heldBackShare = 2 * turnShare;

/** What a write to a connection counts: the flush makes one for each connection that has something to send. */
export const writeCost = 32;

/** What may be answered before all else (control frames) in a turn; what goes beyond it comes with the messages. */
export const urgentShare = 4 * turnShare;

/**
 * While connections keep arriving: polls before one turn, each of which accepts one connection, and how long they may take
 * in milliseconds. redis accepts up to 1,000 per event (MAX_ACCEPTS_PER_CALL), nginx with multi_accept all there are.
 */
export const maxAcceptPolls = 256;
export const acceptTime = 5;

/** Input that the connections already in may send during these polls, beyond what the turn's memory holds. */
export const maxSpilledInput = 4 * MiB;

/** What commands may use of a turn, all together: about two milliseconds. */
export const observerShare = 2 * turnShare;

/** The body of a command's request over HTTP. nginx's client_max_body_size is 1 MiB. */
export const maxCommandBody = 1 * MiB;

/** Values in a form, which is read in one piece; no command takes as many. As fields of an HTTP head. */
export const maxFormValues = 100;

/** Names of an object, or values of a list, in JSON that is read in one piece: some milliseconds. */
export const maxJsonEntries = 10_000;

/** Unsent bytes of what is told to someone who watches; what does not fit is lost, and they are told how much. */
export const maxUnwatched = 1 * MiB;

/** Characters of a token for commands over HTTP: 16 of 64 kinds are 96 bits, more than can be tried. */
export const minTokenLength = 16;

/** Wrong tokens that are refused at once: of one address, as fail2ban's maxretry is 5; and of all together. */
export const freeGuesses = 5;
export const freeGuessesOfAll = 100;

/** Each further one is refused after this time, and up to the next look at deadlines; login's FAIL_DELAY is 3 s. Milliseconds. */
export const guessDelay = 1000;

/** Of these refusals, so many are put off in that time, for one address and for all; a guess beyond them gets 429. */
export const maxDelayedGuesses = 10;
export const maxDelayedGuessesOfAll = 100;

/** How long the guesses of an address count, and of how many addresses they are counted; milliseconds. */
export const guessMemory = 60_000;
export const maxGuessers = 1000;

/** The file that has it. */
export const longestTokenFile = 4 * KiB;

/** A file with certificates or a key: the bundle of all authorities that a system trusts has 0.2 MB. */
export const longestPemFile = 4 * MiB;

/** A file with commands, in the spool's folder: as much as the body of a request. */
export const maxSpoolFile = maxCommandBody;

/** One line of it: as a line of the chat. What is longer is given by `--binary`. */
export const maxCommandLine = 64 * KiB;

/** What the commands of one such file may say, all together: a list of 100,000 connections takes about 10 MB. */
export const maxSpoolOutput = 16 * MiB;

/** Names of such files that are looked at together; the rest has its turn after them. */
export const maxSpoolNames = 1024;

/** How long one line of such a file may take; milliseconds. A ping waits 20 s for its pong. */
export const spoolPatience = 60_000;

/** While clients talk: from the beginning of one such file to that of the next, at least; milliseconds. */
export const spoolPace = 20;

/** And from the end of one step of the work on it to the beginning of the next, and what is enough for one; milliseconds. */
export const spoolRest = 1;
export const spoolStep = 0.2;

/** They do not where none sent a message for so long; milliseconds. */
export const spoolQuiet = 1000;

/** Of so many such files at a time the disk is to have it that they were taken. */
export const spoolSync = 32;

/** How often `--watch` looks for changes that the system did not report; milliseconds. */
export const watchRescan = 500;

/** How long the folders in the spool are missing before they are made again; milliseconds. */
export const spoolGrace = 200;

/** The system tells what is new in the folder; where it does not, it is looked for; milliseconds. */
export const spoolRescan = 5000;

/**
 * While a connection's input waits for its handler: after so long without reading, and again after as long, it is found out
 * whether the peer is gone. That takes two writes: the system answers the first, and fails the second. Milliseconds.
 */
export const probeInterval = 2000;

/** Unsent bytes for a connection at which it is not read from any more, until they are gone. */
export const heldBackOutput = 256 * KiB;

/**
 * Clients that come by HTTP, where `maxConnections` sets no bound: no descriptor does either. With nothing to say they take
 * 2.5 KiB each, 160 MiB together; as many as one address has ports.
 */
export const maxPolled = 65_536;

/** Input that waits for a busy handler, at which its connection is not read from any more; one read may go beyond it. */
export const heldInput = 16 * KiB;
/**
 * Unacknowledged bytes of a client over HTTP, as frames, at which it counts as slow; and messages in one answer to it, in
 * bytes, though one is always sent. A system's buffer for a socket is as large; Linux lets one grow to 4 MiB.
 */
export const pollWindow = 256 * KiB;

/** What a message adds to an answer besides its content, for that bound: its number, and the JSON around it. */
export const polledOverhead = 32;

/**
 * Frames that wait for clients over HTTP are copied into blocks. The first is so long, and each twice as long as the one
 * before, up to a bound, which is lower for blocks that clients share: so most of the memory is used.
 */
export const firstBlock = 256;
export const sharedBlock = 2 * KiB;
export const longestBlock = 16 * KiB;

/**
 * Bytes a second at which a transfer is no slower than it may be: a body, an answer, output before a close. Each deadline
 * is put off by a second for as many. Apache's RequestReadTimeout has the same (MinRate); Kestrel takes 240.
 */
export const minRate = 500;

/**
 * Milliseconds that sent bytes can put a deadline off in advance: the system's buffer of up to 4 MiB passes for so long
 * before we see that the peer takes any of it. nginx's send_timeout is 60 s.
 */
export const sendAhead = 30_000;

/** An answer that is made as its client takes it is made in slices, each in a fraction of a millisecond. */
export const outputSlice = 64 * KiB;

/** Slices in one turn, for all such clients together: about two milliseconds. */
export const slicesPerTurn = 16;

/** Bytes of messages that are measured for one slice, for the Content-Length: about a millisecond. */
export const measuredSlice = 1024 * KiB;

/** A body that no one needs, such as the `{}` that axios and requests send with every POST: it is read and ignored. */
export const maxIgnoredBody = 64 * KiB;

/** Lines of JSON that come in one request: they are read in one piece, so it has to be a small one (some milliseconds). */
export const maxPostedLines = 64 * KiB;

/** A stream of events is ended after this time, so that its client comes back and says how far it came; milliseconds. */
export const longestStream = 5 * 60_000;

/** Ids in one answer of a shared program. */
export const maxRecipients = 10_000;

/** Programs started in one turn: each takes about a millisecond in which nothing else is done. */
export const startsPerTurn = 1;

/**
 * What a program may say in one turn, in the units of `turnShare`: 1,024 messages, or 256 KiB. So its clients are written
 * to in between, and only those that are slow fall behind.
 */
export const programShare = 1024;

/** What a program still writes when its connection is gone is read, up to so much, so that it can come to its end. */
export const maxUnheard = 1 * MiB;

/**
 * Of a program's stderr: characters of a line that reach the log, and lines and bytes that are read in a second. A program
 * that writes more has to wait.
 */
export const maxErrorLine = 1000;
export const maxErrorLines = 100;
export const maxErrorBytes = 256 * KiB;

/** What is read of a program's stderr after its end; the pipe and Node's buffer have 144 KiB. */
export const maxErrorRest = 256 * KiB;

/** What all programs' stderr may use of a turn, in the units of `turnShare`, and what a line in the log costs of it. */
export const errorShare = turnShare;
export const errorLineWork = 64;

/** Programs that pipes are made for at once, by one `mkfifo`: starting that takes as long as starting a program. */
export const pipesAtOnce = 8;

/**
 * A shared program that ended is started again after this time, the next time after twice as long, and so on up to the
 * last; from the first again once it has run for as long as that. systemd and supervisord try a few times and give up.
 */
export const restartAfter = { first: 100, last: 30_000 } as const;

/** Connections beyond `maxConnections` that are let in to be told why they are refused (503). */
export const refusalRoom = 64;

/**
 * Sockets of one address beyond `--max-per-address`, for requests, handshakes and refusals: a quarter of its clients, but
 * so many at least, and `refusalRoom` at most.
 */
export const minExtraSockets = 8;

/** When the server has ended: how long whoever reads stdout or stderr may pause before they are given up; milliseconds. */
export const outputPatience = 2000;

/** Of the files that the system lets us open, those that connections leave: for commands, histories, programs. */
export const spareDescriptors = 32;

/** Of these, those that connections may take between their accepting and the turn that drops others for them. */
export const acceptReserve = 4;

/** How often it is said that there are no more than those left; milliseconds. */
export const shortageInterval = 10_000;

/** On a listener that greets at once: how long a trusted proxy has for its PROXY header before it is greeted itself. */
export const proxyHeaderWait = 1000;

/** To type a nick in a terminal; milliseconds. */
export const typingTimeout = 60_000;

/** The first line of a connection, while it is not known whether it is HTTP. */
export const maxFirstLine = 512;

/**
 * What follows the first 16 bytes of a binary PROXY header: addresses, 216 bytes at most, and extensions. HAProxy's take
 * some hundred bytes with the client's certificate's names among them; one page is what it reads itself.
 */
export const maxProxyHeader = 4 * KiB;

/** The blob of a packet, and so a chat's message. Discord and Slack take 4,000 and 40,000 characters. */
export const maxPacketBlob = 64 * KiB;

/** Characters (code points) of a nick or a room's name. */
export const maxNameLength = 32;

/** The same in bytes: UTF-8 takes at most four for one. */
export const maxNameBytes = 4 * maxNameLength;

/** What a room remembers in memory is bounded in bytes, too, whatever `--history` says of their number. */
export const maxHistoryBytes = 1 * MiB;

/** Files of rooms (`--data`) that are open at once; the others are opened again when they are needed. */
export const maxOpenRoomFiles = 64;

/** What reading the pasts of rooms may use of a turn, all together, and of that one room before the next: 2 and 0.5 ms. */
export const recallShare = 2 * turnShare;
export const recallSlice = turnShare / 2;

/** A past that was read, and that nobody has asked for since, is forgotten after this time; milliseconds. */
export const recallPatience = 5000;

/** Files of rooms whose damaged stretches are remembered. */
export const maxDamagedFiles = 1024;

/** The same in messages: a newcomer is sent them at once, which takes some 10 ms. */
export const maxHistoryMessages = 10_000;

/** Ended connections of which it is known why. With their last frames they take a megabyte. */
export const maxEnded = 1000;

/** Rooms that nobody is in, but whose messages are remembered (in memory, where there is no `--data`). */
export const maxEmptyRooms = 64;

/** What a wire of the user's leaves of its input until more comes: as long as our own longest line. */
export const maxWireRest = 64 * KiB;

/** What is told of an error that a module threw, in characters. */
export const maxReason = 2000;

/** The heap of the process that a module is first loaded in, in MiB. */
export const maxLoadHeap = 512;
