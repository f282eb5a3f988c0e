/** The output of `explain`: fields with their values and meanings, and the rules that the bytes break. */
import type { Role } from '../protocol/codes.ts';

/** A field of a frame: some bits of the header, or some bytes. */
export interface Field {
  readonly name: string;
  /** The index of its first byte in the input of its sender. */
  readonly at: number;
  /** For a part of a byte: the first bit, from 0 for the most significant one, and the number of bits. */
  readonly bit?: number;
  readonly bits?: number;
  /** Bytes; 1 for a part of a byte. */
  readonly size: number;
  /** For people: `1`, `0x9`, `65536`. */
  readonly value: string;
  /** The first bytes in hexadecimal digits; undefined for a part of a byte. */
  readonly hex?: string;
  readonly meaning: string;
  /** The section that defines the field: `RFC 6455 §5.2`. */
  readonly section: string;
  /** The ids of its rules in the ledger: `5.2-a`. */
  readonly rules?: readonly string[];
}

/** A rule that the sender broke. */
export interface Breach {
  readonly rule: string;
  readonly section: string;
  /** The ids of this rule in the ledger. */
  readonly rules?: readonly string[];
  /** The index of the byte that proves the breach. */
  readonly at: number;
  /** The receiver's duty, a sentence. */
  readonly response: string;
}

export interface FrameExplanation {
  readonly kind: 'frame';
  readonly sender: Role;
  readonly at: number;
  /** Bytes that have been read. */
  readonly size: number;
  /** One line: `text, 5 bytes, masked`. */
  readonly summary: string;
  readonly fields: readonly Field[];
  /** The message that this frame completes, or the content of a control frame. */
  readonly content: string | undefined;
  /** The least number of missing bytes. */
  readonly missing: number;
  readonly breach: Breach | undefined;
}

/** A line of a handshake. */
export interface LineExplanation {
  /** As it was sent, without the line end. */
  readonly line: string;
  readonly at: number;
  readonly meaning: string;
  /** Empty for a line that does not belong to the handshake. */
  readonly section: string;
}

export interface HandshakeExplanation {
  readonly kind: 'handshake';
  readonly sender: Role;
  readonly at: number;
  readonly size: number;
  readonly lines: readonly LineExplanation[];
  /** The steps from the key to the accept value. */
  readonly accept: readonly string[];
  readonly missing: number;
  readonly breaches: readonly Breach[];
}

/** Bytes that the receiver ignores, because it has closed or failed the connection. */
export interface IgnoredExplanation {
  readonly kind: 'ignored';
  readonly sender: Role;
  readonly at: number;
  readonly size: number;
  readonly why: string;
}

export type Explanation = FrameExplanation | HandshakeExplanation | IgnoredExplanation;
