/**
 * A conformance case as data: the tester's messages, and the answers of a correct peer. The same case tests servers and
 * clients: the tester is the other end. Only masking, and which end closes TCP first, depend on the role.
 */
import { Buffer } from 'node:buffer';
import { CloseCode, Opcode } from '../protocol/codes.ts';
import type { ResponseHead } from '../protocol/http/head.ts';
import type { DeflateParameters, Extension } from '../protocol/websocket/extensions.ts';

export interface ConformanceCase {
  /** `GROUP/WHAT`, in lower case with hyphens; unique. */
  readonly name: string;
  /** The number in Autobahn's test suite, such as 6.4.1, if the case is in it. */
  readonly number?: string;
  /** The title of the group, for reports. */
  readonly group: string;
  /** The tester's actions, as a sentence. */
  readonly description: string;
  /** A correct peer's reaction, as a sentence. */
  readonly expectation: string;
  /** The peers that the case can test; absent: both. */
  readonly tests?: 'servers' | 'clients';
  /** Left out by `--quick`: it moves megabytes, or takes many round trips. */
  readonly isLarge?: boolean;
  /** Reports show the outcome without a verdict: RFC 6455 leaves it open. */
  readonly isInformational?: boolean;
  /** Set if the case needs permessage-deflate. A peer that declines it is UNIMPLEMENTED. */
  readonly deflate?: DeflateDemand;
  /** Set if the case tests the opening handshake. Only a tester in a client's role can run it. */
  readonly handshake?: HandshakeDemand;
  /** Builds the steps, with payloads of up to 16 MiB: call it when the case begins, and drop it when the case ends. */
  readonly plan: () => CasePlan;
}

/** The negotiation of permessage-deflate, from either end. */
export interface DeflateDemand {
  /** A client's offers, in order of preference: elements of `Sec-WebSocket-Extensions`. */
  readonly offers: readonly string[];
  /** A server's answer to the peer's offers; undefined if none is acceptable. */
  readonly answer: (
    offers: readonly Extension[],
  ) => { readonly response: string; readonly parameters: DeflateParameters } | undefined;
}

/** An opening handshake that differs from the ordinary one, and the correct answer. */
export interface HandshakeDemand {
  /** Changes the ordinary request. */
  readonly alter?: (request: OpeningRequest) => OpeningRequest;
  /** Bytes per write; absent: one write. */
  readonly chop?: number;
  /** Set if the server must refuse. Absent: it must accept, and the plan follows. */
  readonly refusal?: {
    /** The correct HTTP statuses. Another status from 400 on is NON-STRICT. */
    readonly statuses: readonly number[];
    /** The verdict on a server that accepts. */
    readonly ifAccepted: 'NON-STRICT' | 'FAILED';
  };
  /** Refusing with a status from 400 on is NON-STRICT instead of FAILED. */
  readonly mayRefuse?: boolean;
  /** Checks the response further. @returns its fault, if it has one */
  readonly check?: (head: ResponseHead) => string | undefined;
}

/** The request of an opening handshake, in parts that a case may change. */
export interface OpeningRequest {
  readonly method: string;
  readonly target: string;
  /** As in the request line: `HTTP/1.1`. */
  readonly version: string;
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** Sent after the head, in the same write. */
  readonly body: Buffer;
}

export interface CasePlan {
  readonly steps: readonly Step[];
  /** The acceptable sequences of messages, pongs and timeouts. The first that matches decides. */
  readonly outcomes: readonly ExpectedOutcome[];
  readonly close: CloseExpectation;
  /** Ends a case that takes too long after its last step. */
  readonly deadline: Deadline;
}

export interface ExpectedOutcome {
  readonly verdict: 'OK' | 'NON-STRICT';
  readonly happenings: readonly Happening[];
  /** Overrides the plan's `close`. The tester closes as soon as this outcome matches. */
  readonly close?: CloseExpectation;
}

export interface Deadline {
  /** Milliseconds. */
  readonly after: number;
  /** `fail` fails the connection with 1001; `close` starts an ordinary closing handshake. */
  readonly end: 'fail' | 'close';
}

export interface CloseExpectation {
  /** Which end sends the first close frame, or drops TCP. */
  readonly by: 'tester' | 'peer';
  /** The codes allowed in the peer's close frame. The tester's own close frame has the first. */
  readonly codes: readonly number[];
  /** Whether the closing handshake must be complete. If not, the peer may drop TCP instead. */
  readonly isClean: boolean;
  /** The case is FAILED if the wrong end closes: the peer did not notice the fault. */
  readonly isWrongEndFatal?: boolean;
  /** A wrong code makes the case FAILED instead of NON-STRICT. */
  readonly isWrongCodeFatal?: boolean;
  /** The steps send the close frame, so the tester adds none after the expected happenings. */
  readonly isInSteps?: boolean;
  /** Messages after the tester's close frame count as happenings. Otherwise, the tester ignores them. */
  readonly deliversWhileClosing?: boolean;
  /** NON-STRICT if the peer drops TCP without a close frame (RFC 6455 §7.1.7: it SHOULD send one). */
  readonly wantsFrame?: boolean;
}

/** An observation of the tester. */
export type Happening =
  | { readonly is: 'message'; readonly isText: boolean; readonly payload: Buffer }
  | { readonly is: 'pong'; readonly payload: Buffer }
  /** The connection was still open after a wait. */
  | { readonly is: 'timeout'; readonly label: string };

/** The tester's actions, in order. The end of the connection stops them. */
export type Step = FrameStep | HeadStep | DataStep | MessageStep | CloseStep | WaitStep | RoundTripsStep;

/** Sends one frame, never compressed. */
export interface FrameStep {
  readonly do: 'frame';
  readonly opcode: number;
  readonly payload: Buffer;
  readonly fin: boolean;
  /** RSV1 is 4, RSV2 is 2, RSV3 is 1. */
  readonly rsv: number;
  /** Bytes per write; absent: one write. */
  readonly chop?: number | undefined;
  readonly form?: FrameForm | undefined;
}

/** How a frame's header differs from the usual one. */
export interface FrameForm {
  /** Bytes of the extended length, even if fewer would do. */
  readonly lengthBytes?: 2 | 8;
  /** The length in the header, if it is not the payload's. */
  readonly announced?: bigint;
  /** Masked by a server, or not masked by a client. */
  readonly isMaskWrong?: boolean;
}

/** Sends a frame's header; `data` steps send its payload. */
export interface HeadStep {
  readonly do: 'head';
  readonly opcode: number;
  readonly fin: boolean;
  readonly length: number;
  /** Bytes per write; absent: one write. */
  readonly chop?: number;
}

/** Sends a part of the payload of the frame that `head` began. */
export interface DataStep {
  readonly do: 'data';
  readonly payload: Buffer;
}

/** Sends a message, compressed if that was negotiated. */
export interface MessageStep extends OutgoingData {
  readonly do: 'message';
}

/** Sends a close frame with this payload, valid or not: the closing handshake begins. */
export interface CloseStep {
  readonly do: 'close';
  readonly payload: Buffer;
}

/** Waits. If the connection is still open then, and the wait has a label, notes a timeout. */
export interface WaitStep {
  readonly do: 'wait';
  /** Milliseconds. */
  readonly time: number;
  readonly label?: string;
}

/** Sends messages, each after the echo of the previous one. A wrong echo is FAILED; after the last echo, the tester closes. */
export interface RoundTripsStep {
  readonly do: 'round trips';
  readonly count: number;
  /** The message with this index, from 0. */
  readonly message: (index: number) => OutgoingData;
}

export interface OutgoingData {
  readonly isText: boolean;
  readonly payload: Buffer;
  /** Bytes per frame, after compression; absent: one frame. */
  readonly fragment?: number | undefined;
}

/** The classic suite's time to wait for an answer, in milliseconds. */
export const second = 1000;

// The vocabulary of the tables.

/** A case in the table of its group. `inGroup` adds the title of the group, and its word to the name. */
export type CaseRow = Omit<ConformanceCase, 'group'>;

/** Cases of one group. Their names begin with the same word. */
export function inGroup(group: string, word: string, cases: readonly CaseRow[]): readonly ConformanceCase[] {
  return cases.map(each => ({ ...each, group, name: `${word}/${each.name}` }));
}

/** Bytes from hexadecimal digits, with or without spaces. */
export const hex = (digits: string) => Buffer.from(digits.replaceAll(' ', ''), 'hex');

const bytesOf = (payload: string | Buffer) => (typeof payload === 'string' ? Buffer.from(payload) : payload);

export type FrameDetails = Partial<Pick<FrameStep, 'fin' | 'rsv' | 'chop' | 'form'>>;

export function sendFrame(
  opcode: number,
  payload: string | Buffer = '',
  details: FrameDetails = {},
): FrameStep {
  return { do: 'frame', opcode, payload: bytesOf(payload), fin: true, rsv: 0, ...details };
}

export const sendText = (payload: string | Buffer, details?: FrameDetails) =>
  sendFrame(Opcode.Text, payload, details);
export const sendBinary = (payload: string | Buffer, details?: FrameDetails) =>
  sendFrame(Opcode.Binary, payload, details);
export const sendContinuation = (payload: string | Buffer, details?: FrameDetails) =>
  sendFrame(Opcode.Continuation, payload, details);
export const sendPing = (payload: string | Buffer = '', details?: FrameDetails) =>
  sendFrame(Opcode.Ping, payload, details);
export const sendPong = (payload: string | Buffer = '', details?: FrameDetails) =>
  sendFrame(Opcode.Pong, payload, details);

/** @param code undefined for an empty close frame */
export function closeWith(code?: number, reason: string | Buffer = ''): CloseStep {
  const bytes = bytesOf(reason);
  if (code === undefined) return { do: 'close', payload: bytes };
  return { do: 'close', payload: Buffer.concat([Buffer.from([code >>> 8, code & 0xff]), bytes]) };
}

export const wait = (time: number, label: string): WaitStep => ({ do: 'wait', time, label });

export const echoOfText = (payload: string | Buffer): Happening => ({
  is: 'message',
  isText: true,
  payload: bytesOf(payload),
});
export const echoOfBinary = (payload: string | Buffer): Happening => ({
  is: 'message',
  isText: false,
  payload: bytesOf(payload),
});
export const pong = (payload: string | Buffer = ''): Happening => ({
  is: 'pong',
  payload: bytesOf(payload),
});
export const timeout = (label: string): Happening => ({ is: 'timeout', label });

export const ok = (...happenings: readonly Happening[]): ExpectedOutcome => ({ verdict: 'OK', happenings });
export const nonStrict = (...happenings: readonly Happening[]): ExpectedOutcome => ({
  verdict: 'NON-STRICT',
  happenings,
});

/** The peer does not notice the fault: it answers, and the tester closes. */
export const overlooked = (...happenings: readonly Happening[]): ExpectedOutcome => ({
  ...{ verdict: 'NON-STRICT', happenings },
  close: { by: 'tester', codes: [CloseCode.NormalClosure], isClean: false },
});

/** After the right answers, the tester closes with 1000, and the peer replies. */
export const closedByTester: CloseExpectation = {
  by: 'tester',
  codes: [CloseCode.NormalClosure],
  isClean: true,
};

/** The peer fails the connection, with this code if it sends a close frame. */
export function failedByPeer(code: number, details: Partial<CloseExpectation> = {}): CloseExpectation {
  return { by: 'peer', codes: [code], isClean: false, ...details };
}

/** The peer answers with these happenings, and the tester closes. */
export function answered(
  steps: readonly Step[],
  happenings: readonly Happening[],
  deadline: Deadline = { after: second, end: 'close' },
): CasePlan {
  return { steps, outcomes: [ok(...happenings)], close: closedByTester, deadline };
}

/**
 * The peer fails the connection.
 * @param before the answers to the messages before the fault. Failing without these answers is NON-STRICT.
 */
export function failed(
  steps: readonly Step[],
  code: number = CloseCode.ProtocolError,
  before: readonly Happening[] = [],
  details: Partial<CloseExpectation> = {},
): CasePlan {
  const outcomes = before.length === 0 ? [ok()] : [ok(...before), nonStrict()];
  return {
    steps,
    outcomes,
    close: failedByPeer(code, details),
    deadline: { after: second, end: 'fail' },
  };
}

/** The peer must fail the connection. If it leaves the closing to the tester, the case is FAILED. */
export function mustFail(
  steps: readonly Step[],
  code: number = CloseCode.ProtocolError,
  details: Partial<CloseExpectation> = {},
): CasePlan {
  return failed(steps, code, [], { isWrongEndFatal: true, ...details });
}
