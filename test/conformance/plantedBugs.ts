/** Bugs for `make planted`: each removes one check from the server, and names a conformance case that finds it. */

export interface PlantedBug {
  /** The fault, as the rest of a sentence that begins with "the server". */
  readonly does: string;
  /** Below dist/. */
  readonly file: string;
  /** Occurs once in the file. */
  readonly find: string;
  readonly replace: string;
  /** The case that finds it. */
  readonly case: string;
}

const frame = 'protocol/websocket/frame.js';
const endpoint = 'protocol/websocket/endpoint.js';
const message = 'protocol/websocket/message.js';
const utf8 = 'protocol/websocket/utf8.js';
const codes = 'protocol/codes.js';
const handshake = 'protocol/websocket/handshake.js';
const extensions = 'protocol/websocket/extensions.js';
const reading = 'core/readSocketData.js';
const head = 'protocol/http/head.js';

/** In order: the bug, the file, the check, its replacement, and the case that finds the bug. */
const rows: readonly (readonly [does: string, file: string, find: string, replace: string, found: string])[] =
  [
    ['accepts reserved bits', frame, 'if ((first & 0x70) !== 0)', 'if (false)', 'reserved-bits/text-rsv3'],
    [
      'accepts RSV2 beside compression',
      frame,
      'if ((first & 0x30) !== 0)',
      'if (false)',
      'deflate/rsv1-and-rsv2',
    ],
    ['accepts RSV1 without compression', frame, 'if (!allowsRsv1)', 'if (false)', 'reserved-bits/text-rsv1'],
    ['accepts RSV1 on a ping', frame, 'if (opcode >= 8)\n', 'if (false)\n', 'deflate/rsv1-in-ping'],
    [
      'accepts RSV1 on a continuation frame',
      frame,
      'if (opcode === 0)\n',
      'if (false)\n',
      'deflate/rsv1-in-continuation',
    ],
    [
      'accepts reserved opcodes of data',
      frame,
      '(opcode > 2 && opcode < 8) || opcode > 10',
      'opcode > 10',
      'opcodes/3',
    ],
    [
      'accepts reserved opcodes of control frames',
      frame,
      '(opcode > 2 && opcode < 8) || opcode > 10',
      'opcode > 2 && opcode < 8',
      'failing/control-opcode',
    ],
    [
      'accepts fragmented control frames',
      frame,
      'if (isControl && first < 0x80)',
      'if (false)',
      'fragments/of-close',
    ],
    [
      'accepts frames without a mask',
      frame,
      "if (second >= 0x80 !== (role === 'server'))",
      'if (false)',
      'masking/wrong-text',
    ],
    [
      'accepts control frames of more than 125 bytes',
      frame,
      'if (isControl)\n',
      'if (false)\n',
      'pings/too-long',
    ],
    [
      'accepts a length of 125 in two bytes',
      frame,
      'if (length < 126)\n        fail',
      'if (false)\n        fail',
      'lengths/125-in-2-bytes',
    ],
    [
      'accepts a length of 300 in eight bytes',
      frame,
      'if (length < 65_536)\n        fail',
      'if (false)\n        fail',
      'lengths/300-in-8-bytes',
    ],
    [
      'accepts a length with its top bit set',
      frame,
      'if (bytes[at] >= 0x80)',
      'if (false)',
      'lengths/top-bit',
    ],
    [
      'accepts an announced length of a terabyte',
      message,
      'if (size > maxMessage)',
      'if (false)',
      'lengths/terabyte',
    ],
    [
      'accepts a continuation frame outside a message',
      message,
      'if (header.opcode === Opcode.Continuation)',
      'if (false)',
      'fragments/lone-continuation',
    ],
    [
      'accepts a message inside another',
      message,
      'if (header.opcode !== Opcode.Continuation)',
      'if (false)',
      'fragments/nested-message',
    ],
    [
      'checks text only at its end',
      message,
      'if (next === utf8Invalid)',
      'if (false)',
      'utf8/surrogates-1-fail-fast',
    ],
    [
      'accepts text that ends inside a character',
      message,
      'if (state !== utf8Start)',
      'if (false)',
      'utf8/beginning-1',
    ],
    [
      'checks no text in fragments',
      message,
      'incoming.utf8 = checkText(incoming.utf8, bytes, start, end);',
      '',
      'utf8/surrogate-by-byte',
    ],
    [
      'checks no compressed text',
      message,
      'inflating.utf8 = checkText(inflating.utf8, output, checked, size);',
      '{}',
      'deflate/not-utf8',
    ],
    [
      'forgets the masking key between two reads',
      message,
      'incoming.key = advanceKey(incoming.key, count);',
      '',
      'lengths/pauses',
    ],
    [
      'accepts surrogates',
      utf8,
      'return continuation(2, 0x80, 0x9f);',
      'return continuation(2);',
      'utf8/surrogates-1',
    ],
    [
      'accepts overlong characters of two bytes',
      utf8,
      'if (byte < 0xc2)',
      'if (byte < 0xc0)',
      'utf8/overlong-nul-1',
    ],
    [
      'accepts overlong characters of three bytes',
      utf8,
      'return continuation(2, 0xa0, 0xbf);',
      'return continuation(2);',
      'utf8/overlong-slash-2',
    ],
    [
      'accepts overlong characters of four bytes',
      utf8,
      'return continuation(3, 0x90, 0xbf);',
      'return continuation(3);',
      'utf8/overlong-last-3',
    ],
    [
      'accepts characters above U+10FFFF',
      utf8,
      'return continuation(3, 0x80, 0x8f);',
      'return continuation(3);',
      'utf8/border-5',
    ],
    [
      'accepts half a close code',
      endpoint,
      'if (end - start === 1)',
      'if (end - start === 1) return;\n    if (false)',
      'closing/one-byte',
    ],
    [
      'accepts every close code',
      endpoint,
      'if (!isSendableCloseCode(control.code))',
      'if (false)',
      'closing/code-999',
    ],
    [
      'accepts a close reason that is not UTF-8',
      endpoint,
      'checkTextEnd(checkText(utf8Start, bytes, start + 2, end));',
      '',
      'closing/reason-not-utf8',
    ],
    ['accepts the close code 1005', codes, ' && code !== 1005', '', 'closing/code-1005'],
    ['accepts the close code 2999', codes, 'code >= 3000', 'code >= 2999', 'closing/code-2999'],
    [
      'refuses the close code 1011',
      codes,
      ' && code !== 1005',
      ' && code !== 1005 && code !== 1011',
      'closing/code-1011',
    ],
    ['answers no ping', reading, 'sendControl(connection, Opcode.Pong, control);', '{}', 'pings/empty'],
    [
      'answers no close frame',
      reading,
      'sendClose(connection, control);\n                finishClosing',
      '{}\n                finishClosing',
      'closing/code',
    ],
    [
      'fails the connection without a close frame',
      reading,
      'sendClose(connection, control);\n                failWebSocket',
      '{}\n                failWebSocket',
      'failing/opcode',
    ],
    ['does not end TCP', reading, '    endConnection(connection);\n', '', 'closing/code'],
    [
      'accepts a handshake in HTTP/1.0',
      handshake,
      "if (head.version === '1.0')",
      'if (false)',
      'handshake/http-1.0',
    ],
    ['accepts a handshake by POST', handshake, "if (head.method !== 'GET')", 'if (false)', 'handshake/post'],
    [
      'accepts a handshake with a body',
      handshake,
      'if (head.bodyLength !== 0)',
      'if (false)',
      'handshake/body',
    ],
    [
      'accepts a handshake without Connection',
      handshake,
      "if (!hasToken(headers.get('connection'), 'upgrade'))",
      'if (false)',
      'handshake/no-connection',
    ],
    [
      'accepts any version',
      handshake,
      "if (headers.get('sec-websocket-version') !== '13')",
      'if (false)',
      'handshake/version-14',
    ],
    [
      'accepts any key',
      handshake,
      'if (key === undefined || !/^[A-Za-z\\d+/]{22}==$/.test(key))',
      'if (key === undefined)',
      'handshake/short-key',
    ],
    [
      'accepts subprotocols with spaces',
      handshake,
      '!wanted.every(isToken) || ',
      '',
      'handshake/subprotocols-malformed',
    ],
    [
      'sends a wrong Sec-WebSocket-Accept',
      handshake,
      '258EAFA5-E914-47DA-95CA-C5AB0DC85B11',
      '258EAFA5-E914-47DA-95CA-C5AB0DC85B12',
      'handshake/ordinary',
    ],
    [
      'accepts a handshake without Host',
      head,
      "if (host === undefined && version === '1.1')",
      'if (false)',
      'handshake/no-host',
    ],
    [
      'accepts malformed extensions',
      extensions,
      'if (match === null)\n            throw new ProtocolError(refusal,',
      'if (match === null)\n            break; else if (false) throw new ProtocolError(refusal,',
      'handshake/extensions-malformed',
    ],
    [
      'accepts a window of 2^7 bytes',
      extensions,
      '/^(?:[89]|1[0-5])$/',
      '/^(?:[7-9]|1[0-5])$/',
      'handshake/invalid-offer-2',
    ],
    [
      'accepts a parameter twice',
      extensions,
      ' && named.serverMaxWindowBits === undefined && bits',
      ' && bits',
      'handshake/invalid-offer-11',
    ],
    [
      'does not grant server_no_context_takeover',
      extensions,
      "mode === 'on' || offered.serverNoContextTakeover",
      'false',
      'deflate/offer-server-no-context-takeover',
    ],
    [
      'does not grant server_max_window_bits',
      extensions,
      'if (serverMaxWindowBits !== undefined)\n',
      'if (false)\n',
      'deflate/offer-server-max-window-bits-9',
    ],
  ];

export const plantedBugs: readonly PlantedBug[] = rows.map(([does, file, find, replace, found]) => ({
  ...{ does, file, find, replace },
  case: found,
}));
