/**
 * Every limit on what a peer can make the server hold or do, each with its precedent or its reason. The limits in
 * `defaults` have an option, where 0 means no limit; the others follow from the protocol or from how the loop works. Sizes
 * are in bytes and times in milliseconds, unless a comment says otherwise. Those of tokens, links and rights are in
 * `accessLimits.ts`.
 */

const KiB = 1024;
const MiB = 1024 * KiB;

export const defaults = {
  /** Largest message, and largest frame. permessage-deflate can expand data by 1,000, so the limit holds while inflating. */
  maxMessage: 16 * MiB,
  /** Largest HTTP request head. Node's HTTP server takes 16 KiB, nginx 4 buffers of 8 KiB. */
  maxHeader: 16 * KiB,
  /** Channels of one connection. Each costs a look-up for every message while the subscriber catches up. */
  maxSubscriptions: 100,
  /** Unsent bytes at which a broadcast disconnects a slow consumer (1013). redis: 8 to 32 MB for a pub/sub client. */
  maxBuffered: 1 * MiB,
  /** Connections at once; 0: as many as the descriptor limit allows. */
  maxConnections: 0,
  /** Clients per address: half of all. nginx (limit_conn) and HAProxy (stick tables) have no default. */
  maxPerAddress: 'half',
  /** From accept to the end of the opening handshake. nginx: client_header_timeout is 60 s; ws: none. */
  handshakeTimeout: 10_000,
  /** Silence before a module greets a new connection; 0: never, because browsers open connections ahead of need. */
  greetingDelay: 0,
  /** Silence before a ping. HAProxy drops idle connections after 30 s, AWS ALB after 60 s. */
  pingInterval: 25_000,
  /** From an unanswered ping to dropping the connection. websockets (Python): 20 s. */
  pongTimeout: 20_000,
  /** Time without a message (pings do not count); 0: no limit. */
  idleTimeout: 0,
  /**
   * Time between two HTTP requests; 0: each answer ends its connection. nginx: 75 s; Apache and Node: 5 s. Proxies keep
   * their connections to a server for 60 s (nginx, AWS ALB), and a request that meets our FIN is lost, so we wait longer.
   */
  keepAlive: 75_000,
  /** From our close frame to the end of the TCP connection. ws: 30 s; websockets (Python): 10 s. */
  closeTimeout: 10_000,
  /** Time without a request of a polling client. socket.io: 45 s (ping interval and timeout). */
  pollTimeout: 60_000,
  /** Loading a module in its test process. Most modules take a few milliseconds. */
  loadTimeout: 5000,
  /** Time during which an exception in a new module version brings the previous version back. */
  rollbackWindow: 10_000,
  /** Time to wait for a handler's promise. nginx: proxy_read_timeout is 60 s. */
  handlerTimeout: 60_000,
  /** A handler that blocks the loop longer is logged. Node's guides advise a few milliseconds. */
  slowHandler: 200,
  /** From SIGTERM to the end of the process, even if clients are still connected. */
  drainTimeout: 10_000,
  /** Processes of `--exec`, one per connection. Apache: MaxRequestWorkers is 256 to 400; websocketd: no limit. */
  execMax: 100,
  /** From EOF on a program's stdin to SIGTERM, and from there to SIGKILL. websocketd: 0.1 to 0.5 s. */
  execGrace: 5000,
  /** Requests to the app of `--auth-url` at once. PHP-FPM: pm.max_children is 5 in most packages; Apache: MaxRequestWorkers is 256 to 400. */
  authConcurrency: 20,
  /** From a request to the app to the end of its answer. Less than `handshakeTimeout`. Centrifugo: 1 s; nginx: 60 s. */
  authTimeout: 5000,
  /** How long an answer of the app that names a user is reused. */
  authCache: 10_000,
} as const;

// Frames and messages

/** RFC 6455 §5.5: a control frame carries at most 125 bytes. */
export const maxControlPayload = 125;

/** RFC 6455 §5.5.1: the close code takes two bytes of the control frame. */
export const maxCloseReason = maxControlPayload - 2;

/** RFC 6455 §5.2: 2 bytes, a 64-bit length and a masking key. */
export const maxFrameHeader = 14;

/** The largest message with `--max-message 0`: the longest Buffer of Node 20, less what inflating adds. */
export const absoluteMaxMessage = 4 * 1024 * MiB - KiB;

/**
 * Fragments of one message. Limiting bytes is not enough, because a fragment may be empty. A 16 MiB message in fragments of
 * 64 bytes has 262,144. ws allows 1,048,576 buffered chunks.
 */
export const maxFragments = 1_048_576;

// Compression (RFC 7692)

/**
 * How much larger than the message its compressed form may be. Incompressible data grows by an eighth at most (zlib's
 * `deflateBound` at the lowest memory level). `maxMessage` limits the inflated size.
 */
export const deflateGrowth = 1.13;

/** DEFLATE streams in one message (RFC 7692 §7.2.3.4). Senders make one, or two if they end the message with BFINAL. */
export const maxDeflateStreams = 16;

/** Output of one call to inflate; input is a quarter of this. A call takes tenths of a millisecond. */
export const inflateSlice = 64 * KiB;

/**
 * A message up to this size is compressed even if it proves incompressible, which takes up to 25 ms. Also limits how much
 * of one fan-out is compressed again for recipients with other window sizes.
 */
export const maxAlwaysCompressed = 1 * MiB;

/**
 * A larger message, up to `maxTriedCompression`, is compressed unless its output exceeds this, after 5 to 20 ms. RFC 7692
 * §6: a sender may leave any message uncompressed.
 */
export const maxCompressedOutput = 512 * KiB;
export const maxTriedCompression = 16 * MiB;

// JSON

/** Bytes of JSON for one byte of text: `\u0000`. */
export const maxJsonEscape = 6;

/** Names of an object, or values of a list. JSON is parsed in one piece, which takes a few milliseconds. */
export const maxJsonEntries = 10_000;

// HTTP

/** The largest request head with `--max-header 0`: a head is read in one piece. */
export const absoluteMaxHeader = 1 * MiB;

/** Fields of one head. Apache: LimitRequestFields is 100; Node: maxHeadersCount is 2000. */
export const maxHeaderFields = 100;

/** A line between the chunks of a body: the chunk size with extensions, or a trailer field. Apache: 8190. */
export const maxChunkLine = 1 * KiB;

/** Extensions of all chunks of a body, which the server ignores. Node: 16 KiB. */
export const maxChunkExtensions = 16 * KiB;

/** Trailer fields of a chunked body. The server discards them. */
export const maxTrailerFields = 16;

/**
 * Bytes per second below which a transfer counts as stalled. Each deadline of a body, an answer or pending output moves by a
 * second for this many bytes. Apache: RequestReadTimeout has MinRate 500; Kestrel: 240.
 */
export const minRate = 500;

/**
 * How far bytes written can move a deadline in advance: the system's socket buffer, up to 4 MiB, hides for this long
 * whether the peer reads. nginx: send_timeout is 60 s.
 */
export const maxDeadlineCredit = 30_000;

/** Ranges of one request (RFC 9110 §14.2). A client that asks for more gets the whole file. */
export const maxRanges = 16;

/** A page for missing files, 404.html. It is read in one piece. A larger one is not sent. */
export const maxErrorPage = 256 * KiB;

/** A body that a route does not use, such as the `{}` of axios: read and ignored. */
export const maxIgnoredBody = 64 * KiB;

/** Bytes. A longer first line is taken for HTTP without waiting for its end. */
export const maxFirstLine = 512;

/**
 * A binary PROXY header after its first 16 bytes: at most 216 bytes of addresses, then extensions. HAProxy's headers are
 * a few hundred bytes long, including the names in the client's certificate; HAProxy itself reads one page.
 */
export const maxProxyHeader = 4 * KiB;

/** Wait for a trusted proxy's PROXY header on a listener that greets at once. */
export const proxyHeaderTimeout = 1000;

/** A PEM file. The bundle of all CAs that a system trusts is about 0.2 MB. */
export const maxPemFile = 4 * MiB;

// Channels

/** The names of channels that are gone, for which the server remembers what is missing: about 1 MB. Beyond it, gaps are reported that may be none. */
export const maxForgottenChannels = 10_000;

/** JSON from publishers and subscribers: its bytes, which take a few milliseconds to parse, and its levels. PHP reads 512 levels. */
export const maxJsonMessage = 1 * MiB;
export const maxJsonDepth = 500;

/** A message of a channel. Its JSON may have six times as many characters, and a string of V8 has at most 512 Mi. */
export const maxPublication = 64 * MiB;

/** Characters of the name of an event, as those of a channel. */
export const maxEventName = 200;

/** Characters of an idempotency key. Stripe: 255. A kept message has its key in memory. */
export const maxIdempotencyKey = 255;

/** A year. Retention drops most messages earlier. */
export const maxTimeToLive = 365 * 24 * 3_600_000;

/** Users named in the presence list of a channel; its count includes all. */
export const maxPresenceNames = 1000;

/** Users in their grace time (`--presence-grace`). Beyond it, the first ones leave early. At most 23 MB: each may keep a channel. */
export const maxLeavingUsers = 10_000;

/** Memory of a subscription, with the channel that it may have created. Measured: 1.4 KiB. */
export const subscriptionMemory = 1.5 * KiB;

/** Memory of a channel's presence, which the first user or watcher creates. Measured: 1.3 KiB. */
export const presenceMemory = 1.5 * KiB;

/** A live subscriber with more unsent output, while its socket is busy, catches up from the history instead. */
export const maxLiveBacklog = 256 * KiB;

// Accepting connections

/**
 * Polls before a turn while connections keep arriving. Each poll accepts one, and all take `acceptTimeLimit` at most.
 * redis: MAX_ACCEPTS_PER_CALL is 1,000; nginx with multi_accept: as many as are waiting.
 */
export const maxAcceptPolls = 256;
export const acceptTimeLimit = 2;

/**
 * Connections that are read again per turn, among those that send more than one read takes. They take turns, so a poll reads
 * 768 KiB from them. That takes a millisecond, because the same system calls do the kernel's part of the senders' work.
 */
export const bulkReadsPerTurn = 3;

/** Input read in one poll, or in a round of `maxAcceptPolls`, beyond what the input arena holds. */
export const maxSpilledInput = 4 * MiB;

/**
 * Turns within one poll, because the input arena is full. After that many, input spills, up to `maxSpilledInput`, so that the last
 * socket of the poll waits for two turns at most.
 */
export const maxEarlyTurns = 1;

/** Connections beyond `maxConnections` that are accepted only to receive a 503 with the reason. */
export const rejectionSlots = 64;

/**
 * Sockets of one address beyond `--max-per-address`, for requests, handshakes and rejections: a quarter of its clients, at
 * least this many and at most `rejectionSlots`.
 */
export const minExtraSockets = 8;

/** File descriptors that connections leave free for commands, histories and programs. */
export const reservedDescriptors = 32;

/** Descriptors of the reserve that new connections may use until the next turn drops others for them. */
export const acceptReserve = 4;

/** Time between two log entries about a lack of file descriptors. */
export const shortageLogInterval = 10_000;

// Memory

/** An idle connection: its record, its handle and its entry in the table. Measured: 2.8 KiB. */
export const connectionMemory = 3 * KiB;

/** The size of each of the two pools of long buffers. The pool above 4 MiB has room for one message of the largest default size. */
export const bufferPoolSize = 17 * MiB;

/** The part of `maxMemory` that histories may use before the longest ones are shortened. */
export const historyMemoryShare = 1 / 4;

/** The part of `maxMemory` that input for programs may use after its clients have left. */
export const programMemoryShare = 1 / 4;

/**
 * Above the high-water part of `maxMemory`, connections are closed until usage falls to the low-water part. The gap avoids
 * eviction in every turn; the rest above is for garbage that Node has not collected yet.
 */
export const memoryHighWater = 7 / 8;
export const memoryLowWater = 13 / 16;

/** Bytes in flight up to which an evicted connection still receives the reason. */
export const maxInFlightOnEviction = 16 * KiB;

// Fairness: how one turn is divided. A work unit is a message, a recipient, or 256 bytes (see workUnits.ts)

/** One connection's budget per turn: about a millisecond. */
export const connectionBudget = 8192;

/** An HTTP request: its head is parsed, and an answer is written. About 25 µs. */
export const requestCost = 256;

/** A file is opened, checked and closed, besides the request for it. About 25 µs. */
export const fileCost = 256;

/** All connections whose last read was cheap: about 8 ms by this estimate. `readingTime` ends it earlier. */
export const messageBudget = 8 * connectionBudget;

/** All connections that send a piece of a large message or body: about 2 ms, in which a few MiB are copied. */
export const pieceBudget = 2 * connectionBudget;

/** All opening handshakes and HTTP requests: about 40. */
export const handshakeBudget = 2 * connectionBudget;

/** All connections whose last messages cost more than `costlyThreshold`. */
export const costlyBudget = 2 * connectionBudget;
export const costlyThreshold = connectionBudget / 8;

/** All connections that exhausted their budget in the previous turn. */
export const throttledBudget = 2 * connectionBudget;

/**
 * Work units are an estimate, so the clock also ends a stage (`stopTime` in core/fairness.ts). A turn reads cheap connections until
 * `readingTime`, the other four classes until `heavyReadingTime`; disconnects, deadlines, polls and programs have until `turnTime`. But
 * each stage gets at least `minStageTime`, so none starves, and finishes its last piece of work: together they take 8 ms at most.
 */
export const readingTime = 4;
export const heavyReadingTime = 2;
export const turnTime = 3;
export const minStageTime = 0.5;

/** Control frames answered before all messages. Control frames beyond it wait with the messages. */
export const controlFrameBudget = 2 * connectionBudget;

/** Commands: about 2 ms. */
export const commandBudget = 2 * connectionBudget;

/**
 * Output of one program per turn: 1,024 messages or 256 KiB. The flush runs in between, so only slow consumers fall behind.
 */
export const programBudget = 1024;

/** Stderr of all programs. A line in the log costs `logLineCost`. */
export const stderrBudget = connectionBudget;
export const logLineCost = 64;

/** The cost of one write. The flush makes one for each connection with pending output. */
export const writeCost = 32;

/** Backpressure: a connection with more unsent bytes is not read from until its output queue drains. */
export const backpressureThreshold = 256 * KiB;

/** The shortest pause of a connection above `--message-rate`: a timer for each message would cost more. */
export const ratePause = 100;

/** Log lines that one address may cause. A reader of the log learns nothing new from the 500th of the same kind. */
export const addressLogLines = { perSecond: 2, burst: 500 } as const;

/** Addresses whose new connections and log lines are counted; the least recently seen are dropped. */
export const maxRateAddresses = 10_000;

/** A connection with more input waiting for a busy handler is not read from. One read may exceed it. */
export const maxPausedInput = 16 * KiB;

/**
 * Time between two attempts to detect that a peer is gone while we do not read from it. Detection takes two writes: the
 * peer's system answers the first with a reset, and the second fails.
 */
export const probeInterval = 2000;

// Chat

/** A packet's blob, and so a chat message. Discord: 4,000 characters; Slack: 40,000. */
export const maxPacketBlob = 64 * KiB;

/** Characters (code points) of a nick or a room name. */
export const maxNameLength = 32;

/** `maxNameLength` in bytes: UTF-8 takes at most four per character. */
export const maxNameBytes = 4 * maxNameLength;

/** Memory of one room's history, whatever `--history` allows. */
export const maxHistoryBytes = 1 * MiB;

/** Messages of one history. Replaying them on join takes about 10 ms. */
export const maxHistoryMessages = 10_000;

/** Time to type a nick in a terminal. */
export const typingTimeout = 60_000;

// Polling over HTTP

/**
 * Polling sessions, if `maxConnections` is 0. Sessions use no descriptors, so that limit does not bound them. An idle session
 * takes 2.5 KiB, so all take 160 MiB. One address has as many ports.
 */
export const maxPollingSessions = 65_536;

/**
 * Unacknowledged bytes, as frames, at which a polling client counts as slow, and the size of one answer (which holds at
 * least one message). About the size of a socket buffer, which Linux lets grow to 4 MiB.
 */
export const pollWindow = 256 * KiB;

/** What a message adds to an answer besides its content: its number and JSON punctuation. */
export const polledMessageOverhead = 32;

/**
 * Frames for polling clients are copied into blocks that double in size, from the first to the largest. Blocks that clients
 * share stay smaller. This way, little allocated memory is wasted.
 */
export const firstBacklogBlock = 256;
export const sharedBacklogBlock = 2 * KiB;
export const maxBacklogBlock = 16 * KiB;

/** An answer is generated in slices while its client reads it. A slice takes a fraction of a millisecond. */
export const outputSlice = 64 * KiB;

/** Slices per turn for all such clients: about a millisecond. */
export const outputSlicesPerTurn = 4;

/** Bytes of messages measured per slice to compute Content-Length: about 0.25 ms. */
export const contentLengthSlice = 256 * KiB;

/** Bytes of JSON lines in one request. They are parsed in one piece, which takes a few milliseconds. */
export const maxPostedLinesBytes = 64 * KiB;

/** An event stream ends after this time. Its client reconnects and acknowledges what it received. */
export const eventStreamLifetime = 5 * 60_000;

// Commands

/** The body of a command's request. nginx: client_max_body_size is 1 MiB. */
export const maxCommandBody = 1 * MiB;

/** Values of a form. A form is parsed in one piece. The same as the fields of an HTTP head. */
export const maxFormValues = 100;

/** Unsent output of `watch`. Events that do not fit are dropped and counted. */
export const maxWatchBacklog = 1 * MiB;

/** Characters of an API token: 16 of an alphabet of 64 are 96 bits, too many to guess. */
export const minTokenLength = 16;

/** The file with the token. */
export const maxTokenFile = 4 * KiB;

/** Wrong tokens answered at once, per address and in total. fail2ban: maxretry is 5. */
export const freeGuesses = 5;
export const totalFreeGuesses = 100;

/** Delay of every further refusal. login: FAIL_DELAY is 3 s. */
export const guessDelay = 1000;

/** Refusals delayed at the same time, per address and in total. Further guesses get 429 at once. */
export const maxDelayedGuesses = 10;
export const totalDelayedGuesses = 100;

/** How long wrong tokens of an address count, and for how many addresses. */
export const guessExpiry = 60_000;
export const maxTrackedGuessers = 1000;

/** Memory of an open connection's entry for the access log, besides its text. Estimated. */
export const accessEntryMemory = 256;

/** Characters of the access log that wait for the disk: some thousand lines. Further lines are lost, and the log says how many. */
export const maxPendingLines = 1 * MiB;

/** Characters of a URL, and of another field of a request, in a line of the access log. Real ones are shorter. */
export const maxShownUrl = 2048;
export const maxShownField = 512;

/** Closed connections that `why` can explain. With their last frames they take a megabyte. */
export const maxClosedRecords = 1000;

// Spool

/** A command file: as large as a request's body. */
export const maxSpoolFile = maxCommandBody;

/** One line of a command file: as long as a chat line. `--binary` takes longer data. */
export const maxCommandLine = 64 * KiB;

/** The results of one command file. A list of 100,000 connections takes about 10 MB. */
export const maxSpoolOutput = 16 * MiB;

/** File names examined together. The rest wait for the next step. */
export const maxSpoolNames = 1024;

/** Running one line. A ping waits 20 s for its pong. */
export const spoolLineTimeout = 60_000;

/** While clients are active: the minimum time from the start of one file to the start of the next. */
export const spoolFileInterval = 20;

/** While clients are active: the pause between two steps on a file, and the length of a step. */
export const spoolStepPause = 1;
export const spoolStepTime = 0.2;

/** Clients count as inactive after this time without a message. */
export const clientQuietPeriod = 1000;

/** Files claimed per fsync of the folder. */
export const spoolSyncBatch = 32;

/** Delay before missing folders of the spool are created again. */
export const spoolRecreateDelay = 200;

/** How often the folder is scanned if the system does not report changes. */
export const spoolRescanInterval = 5000;

// Modules

/** How often `--watch` scans for changes that the system did not report. */
export const watchRescanInterval = 500;

/** Input that a module's wire leaves until more arrives: as long as the longest line of our own wires. */
export const maxWireInput = 64 * KiB;

/** Characters of a module's error message. */
export const maxModuleError = 2000;

/** The heap of the process that loads a module for the first time, in MiB. */
export const maxLoadHeapMiB = 512;

// Programs

/** Ids in one record of a shared program. */
export const maxRecipients = 10_000;

/** Programs started per turn, of all handlers together. Starting one blocks the loop for about a millisecond. */
export const programStartsPerTurn = 1;

/** Resident memory from which another process starts programs for the server. A fresh server has about 70 MiB. */
export const starterThreshold = 128 * MiB;

/** Pipes created by one `mkfifo`, which takes as long as starting a program. */
export const pipesPerBatch = 8;

/**
 * Delay before a shared program that ended is started again. It doubles from the first to the last, and returns to the first
 * once the program has run for as long as the last. systemd and supervisord give up after a few attempts.
 */
export const restartDelay = { first: 100, last: 30_000 } as const;

/** Output that is read and discarded after the connection has closed, so that the program can finish. */
export const maxDiscardedOutput = 1 * MiB;

/** Stderr: characters of a logged line, and lines and bytes read per second. A program that writes more blocks. */
export const maxStderrLine = 1000;
export const maxStderrLines = 100;
export const maxStderrBytes = 256 * KiB;

/** Stderr read after a program's end. The pipe and Node's buffer hold 144 KiB. */
export const maxStderrRest = 256 * KiB;

// The process

/** When the process ends: how long a reader of stdout or stderr may stall before its output is lost. */
export const outputDrainTimeout = 2000;
