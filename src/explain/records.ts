/** The output of `explain`: fields with their values and meanings, and the rules that the bytes break. */
import type { Role } from '../protocol/websocket/frame.ts';

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
  /** As a person reads it: `1`, `0x9`, `65536`. */
  readonly value: string;
  /** The first bytes in hexadecimal digits; undefined for a part of a byte. */
  readonly hex?: string;
  readonly meaning: string;
  /** Where the field is defined: `RFC 6455 §5.2`. */
  readonly section: string;
}

/** A rule that the sender broke. */
export interface Breach {
  readonly rule: string;
  readonly section: string;
  /** The index of the byte that makes the breach certain. */
  readonly at: number;
  /** What the receiver must do. */
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
  /** Bytes that are missing at least. */
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
  /** How the key becomes the accept value, a step each. */
  readonly accept: readonly string[];
  readonly missing: number;
  readonly breaches: readonly Breach[];
}

/** Bytes that a receiver does not read, because the connection has ended for it. */
export interface IgnoredExplanation {
  readonly kind: 'ignored';
  readonly sender: Role;
  readonly at: number;
  readonly size: number;
  readonly why: string;
}

export type Explanation = FrameExplanation | HandshakeExplanation | IgnoredExplanation;
