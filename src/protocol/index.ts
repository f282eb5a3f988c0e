/**
 * The package's `pollywog/protocol`: RFC 6455 and RFC 7692 as pure functions, for programs with their own sockets. They turn bytes
 * into events and messages into bytes, without I/O, timers or callbacks. The manual page `protocol` has an example.
 *
 *     server   parseRequestHead → acceptHandshake (or encodeResponse for a refusal) → newEndpoint('server')
 *     client   startHandshake → parseResponseHead → finishHandshake → newEndpoint('client')
 *     both     nextEvent in a loop; write frames with writeFrameHeader; then startClosing, endEndpoint, failEndpoint
 */

export type { ByteRange } from './buffers.ts';
export { CloseCode, isSendableCloseCode, Opcode, ProtocolError, type Role } from './codes.ts';
export {
  encodeResponse,
  type Head,
  type HttpResponse,
  parseRequestHead,
  parseResponseHead,
  type ResponseHead,
} from './http/head.ts';
export {
  type Agreement,
  finishHandshake,
  type HandshakeRequest,
  startHandshake,
} from './websocket/clientHandshake.ts';
export { type DeflateContext, deflateMessage, newDeflateContext } from './websocket/deflate.ts';
export {
  type ControlFrame,
  closePayload,
  control,
  type Endpoint,
  type EndpointState,
  endEndpoint,
  type Frame,
  failEndpoint,
  frame,
  message,
  newEndpoint,
  nextEvent,
  ProtocolEvent,
  releaseMessage,
  startClosing,
} from './websocket/endpoint.ts';
export type { Compression, DeflateParameters } from './websocket/extensions.ts';
export { FIN, frameHeaderSize, RSV1, writeFrameHeader } from './websocket/frame.ts';
export { type Accepted, acceptHandshake, type HandshakePolicy } from './websocket/handshake.ts';
export { unmask as applyMask } from './websocket/mask.ts';
export { type Message, messageBytes, messageText } from './websocket/message.ts';
