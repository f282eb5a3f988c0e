/**
 * The messages between the inspector's page (web/inspector/) and the server: JSON texts on a WebSocket at `/inspect` with the
 * subprotocol `pollywog-inspect`. The page imports these types, so this file imports no code of the server.
 *
 * Times are milliseconds since 1970. `serial` is a connection's serial number, which is never reused. A frame's number, `frame`, is
 * unique on this WebSocket and never reused. Bytes are hexadecimal digits, two for each byte.
 */
import type { Explanation } from '../../explain/records.ts';

export const inspectorSubprotocol = 'pollywog-inspect';

/** The path of the page, of the WebSocket and, with a further segment, of the page's files. */
export const inspectorPath = '/inspect';

/**
 * The close code if the page must send a token, or if its token was wrong. The reason is a sentence. With the code 4403, no token
 * would help.
 */
export const tokenNeeded = 4401;

/** A message of the page. An invalid one closes the WebSocket (1008), with a reason. */
export type PageMessage =
  /** The first message. A page on this machine needs no token (entry.ts); other pages need the API token. */
  | { readonly type: 'enter'; readonly token?: string }
  /** Shows the frames of this connection from now on, instead of the one that was watched before. */
  | { readonly type: 'watch'; readonly serial: number | null }
  /** While paused, the server sends no frames, and counts them as skipped. The recording goes on. */
  | { readonly type: 'pause'; readonly isPaused: boolean }
  /** Answered by `explanation` or `failed`. The server keeps only the last frames: `limits.keptFrames`. */
  | { readonly type: 'explain'; readonly frame: number }
  /** The recording of the watched connection, beginning with `watch`. Answered by `recording` or `failed`. */
  | { readonly type: 'export'; readonly serial: number }
  /** A connection of the workbench to this server. Answered by `opened` or `shut`. */
  | OpenMessage
  /** Raw bytes, as a client would write them to its socket. */
  | { readonly type: 'send'; readonly id: number; readonly hex: string }
  /** The client sends FIN, or with `isReset` drops the connection without one. */
  | { readonly type: 'shut'; readonly id: number; readonly isReset?: boolean };

export interface OpenMessage {
  readonly type: 'open';
  /** Chosen by the page, a positive integer; not one of an open connection. */
  readonly id: number;
  /** Path and query. */
  readonly path: string;
  readonly subprotocols: readonly string[];
  /** Offers permessage-deflate. */
  readonly isCompressed: boolean;
  /** Header fields besides those of the handshake, such as Authorization. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** A message of the server. */
export type ServerMessage =
  | WelcomeMessage
  | ConnectionsMessage
  | FramesMessage
  /** The watched connection's state. Also sent as the answer to `watch`; `null`: there is no such connection. */
  | { readonly type: 'state'; readonly serial: number; readonly state: ConnectionState | null }
  | ExplanationMessage
  /** @property text JSON lines; `isCut`: frames after the last line are missing, because the server sampled them or for their size */
  | {
      readonly type: 'recording';
      readonly serial: number;
      readonly text: string;
      readonly isCut: boolean;
    }
  /** The handshake of a workbench connection succeeded. */
  | {
      readonly type: 'opened';
      readonly id: number;
      /** Of the server's side of this connection, which can be watched like any other. */
      readonly serial: number;
      readonly subprotocol: string;
      readonly isCompressed: boolean;
      readonly request: string;
      readonly response: string;
    }
  | AnswerMessage
  /** A workbench connection has ended, or was refused. */
  | {
      readonly type: 'shut';
      readonly id: number;
      readonly why: string;
      /** The response to a refused handshake. */
      readonly response?: string;
    }
  /** A message of the page had no effect; `about` is its type. */
  | {
      readonly type: 'failed';
      readonly about: PageMessage['type'];
      readonly id?: number;
      readonly why: string;
    };

/** The answer to `enter`. */
export interface WelcomeMessage {
  readonly type: 'welcome';
  readonly version: string;
  /** What the workbench can connect to: `/echo`, `/chat` … */
  readonly handlers: readonly InspectedHandler[];
  /** Channels in use, at most `limits.channels`. */
  readonly channels: readonly string[];
  readonly limits: InspectorLimits;
}

export interface InspectedHandler {
  readonly name: string;
  readonly path: string;
  readonly subprotocols: readonly string[];
}

export interface InspectorLimits {
  /** Connections in the list; the server leaves out further ones. */
  readonly connections: number;
  readonly channels: number;
  /** Frames a second; above that, the server samples. */
  readonly framesPerSecond: number;
  /** Bytes of a frame's content that are sent; a longer one `isCut`. */
  readonly shownBytes: number;
  /** Frames that can be explained. */
  readonly keptFrames: number;
  /** The largest frame whose content is shown; of larger ones, the page gets the header only. */
  readonly decodedBytes: number;
  readonly workbenches: number;
  /** Bytes of one `send`. */
  readonly sentBytes: number;
}

/** Changes since the last message, at most four times a second. The first one has all connections. */
export interface ConnectionsMessage {
  readonly type: 'connections';
  readonly added: readonly InspectedConnection[];
  readonly changed: readonly ConnectionChange[];
  readonly ended: readonly EndedConnection[];
  /** All open connections, listed or not. */
  readonly total: number;
}

/**
 * The states of the diagram. `CONNECTING`: before the handshake is complete, or not a WebSocket. `OPEN`. `CLOSING`: the server has
 * sent a close frame and waits for the client's. `CLOSED`: both close frames, or a failure; queued output and the FINs follow.
 * `ENDED`: the TCP connection is gone.
 */
export type ConnectionState = 'CONNECTING' | 'OPEN' | 'CLOSING' | 'CLOSED' | 'ENDED';

/** The part of a connection that changes. Numbers count since the connection began; out: queued by the server. */
export interface ConnectionChange {
  readonly serial: number;
  readonly state: ConnectionState;
  /** `websocket`, `http`, `poll`, `sse`, `lines` … */
  readonly wire: string;
  /** Undefined before the handshake. */
  readonly handler?: string;
  readonly user?: string;
  readonly isCompressed: boolean;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly messagesIn: number;
  readonly messagesOut: number;
  /** Bytes that are queued for the client. */
  readonly unsent: number;
  /** As the user wrote them: `close=1011 after=3`. */
  readonly faults?: readonly string[];
}

export interface InspectedConnection extends ConnectionChange {
  readonly id: number;
  readonly address: string;
  readonly since: number;
  readonly isSecure: boolean;
  /** The workbench's id, if it is a connection of this page's workbench. */
  readonly workbench?: number;
  /** An inspector's own WebSocket. It cannot be watched: each of its frames would cause another. */
  readonly isInspector?: true;
}

export interface EndedConnection {
  readonly serial: number;
  /** `client`, `server` or `network`. */
  readonly by: string;
  /** A sentence, as the command `why` prints it. */
  readonly why: string;
  /** The close code and reason, if a close frame was received or sent. */
  readonly code?: number;
  readonly reason?: string;
}

/** Frames of the watched connection, several times a second. */
export interface FramesMessage {
  readonly type: 'frames';
  readonly serial: number;
  readonly frames: readonly InspectedFrame[];
  /** Frames before these that are not shown: sampled, or while paused. */
  readonly skipped: number;
}

export interface InspectedFrame {
  readonly frame: number;
  readonly time: number;
  readonly direction: 'in' | 'out';
  /**
   * `frame`; `head`: a request or response of the opening handshake, with `text`; `bytes`: bytes that are not a valid frame, with
   * `hex`; `fault`: a fault changed the output, with `text`; `end`: the connection ended, with `text`.
   */
  readonly kind: 'frame' | 'head' | 'bytes' | 'fault' | 'end';
  /** The first byte: FIN, RSV1 to RSV3, opcode. Only of a frame. */
  readonly first?: number;
  readonly isMasked?: boolean;
  /** Bytes of the payload, as sent; and of the whole frame. Of other kinds: bytes, in both. */
  readonly length: number;
  readonly wireLength: number;
  /** The message that the frame completes, or the content of a control frame: unmasked and inflated. */
  readonly text?: string;
  readonly hex?: string;
  /** Bytes of this content; more than `length` after inflation, or if earlier frames belong to the message. */
  readonly contentLength?: number;
  /** The close code, with its reason as `text`. */
  readonly code?: number;
  /** The content is longer than what is shown. */
  readonly isCut?: true;
  /** It contained a credential. Its bytes are not kept, so it cannot be explained. */
  readonly isRedacted?: true;
  /** The content of the message is unknown: it is longer than `limits.decodedBytes`, invalid, or its beginning was not shown. */
  readonly isUninflated?: true;
}

export interface ExplanationMessage {
  readonly type: 'explanation';
  readonly frame: number;
  /** The exact bytes, at most `limits.shownBytes`. */
  readonly hex: string;
  /** `rules` of its fields and breaches are ids, the keys of `rules`. */
  readonly explanation: Explanation;
  readonly rules: Readonly<Record<string, ExplainedRule>>;
}

/** A rule of the ledger. */
export interface ExplainedRule {
  /** `RFC 6455 §5.1`. */
  readonly section: string;
  readonly statement: string;
  /** `client`, `server`, `both` … */
  readonly who: string;
  /** The code that follows the rule; empty if it does not apply, for the `reason`. */
  readonly places: readonly RulePlace[];
  readonly reason?: string;
}

export interface RulePlace {
  /** As `src/protocol/websocket/frame.ts`. */
  readonly file: string;
  /** The function. */
  readonly name: string;
  /** Undefined if the source is not installed. */
  readonly line?: number;
  /** The lines of the source around it, beginning at `excerptLine`. */
  readonly excerpt?: string;
  readonly excerptLine?: number;
}

/** What the server sent on a workbench connection. */
export interface AnswerMessage {
  readonly type: 'answer';
  readonly id: number;
  readonly hex: string;
  /** The decoded frames of both directions, in order: the page needs no decoder. They cannot be explained. */
  readonly frames: readonly InspectedFrame[];
  /** The number of further frames, which are not in `frames`. */
  readonly skipped: number;
}
