/** Makes a HAR file like those of Chromium's developer tools, with two WebSockets and a page. */

/** @param origin the origin of the WebSockets' URLs @param subprotocol the server's choice */
export function chromiumHar(origin: string, subprotocol?: string): string {
  const request = (url: string, ...fields: { name: string; value: string }[]) => ({
    ...{ method: 'GET', url, httpVersion: 'HTTP/1.1', cookies: [], headersSize: 500, bodySize: 0 },
    headers: [
      { name: 'Host', value: '127.0.0.1:8080' },
      { name: 'Connection', value: 'Upgrade' },
      { name: 'Upgrade', value: 'websocket' },
      { name: 'Sec-WebSocket-Version', value: '13' },
      { name: 'Sec-WebSocket-Key', value: 'dGhlIHNhbXBsZSBub25jZQ==' },
      { name: 'Accept-Language', value: 'en-US,en;q=0.9' },
      ...fields,
    ],
    queryString: [{ name: 'x', value: '1' }],
  });
  const response = {
    ...{
      status: 101,
      statusText: 'Switching Protocols',
      httpVersion: 'HTTP/1.1',
      cookies: [],
      redirectURL: '',
    },
    headers: [
      { name: 'Upgrade', value: 'websocket' },
      ...(subprotocol === undefined ? [] : [{ name: 'Sec-WebSocket-Protocol', value: subprotocol }]),
    ],
    content: { size: 0, mimeType: 'x-unknown' },
  };
  const bytes = Buffer.from([0, 1, 255]).toString('base64');
  const socket = (path: string, startedDateTime: string, messages: object[]) => ({
    ...{ _resourceType: 'websocket', _priority: 'High', cache: {}, time: 12, pageref: 'page_1' },
    ...{ startedDateTime, request: request(origin + path), response, _webSocketMessages: messages },
  });
  return JSON.stringify(
    {
      log: {
        ...{ version: '1.2', creator: { name: 'WebInspector', version: '537.36' }, pages: [] },
        entries: [
          {
            ...{ startedDateTime: '2026-11-27T05:06:37.000Z', time: 3, cache: {} },
            ...{ request: request('http://127.0.0.1:8080/'), response: { ...response, status: 200 } },
          },
          socket('/echo?x=1', '2026-11-27T05:06:38.000Z', [
            { type: 'send', time: 1795755998.1, opcode: 1, data: 'grüß dich' },
            { type: 'receive', time: 1795755998.1015, opcode: 1, data: 'grüß dich' },
            { type: 'send', time: 1795755999.5, opcode: 2, data: bytes },
            { type: 'receive', time: 1795755999.502, opcode: 2, data: bytes },
          ]),
          socket('/echo', '2026-11-27T05:06:38.500Z', [
            { type: 'send', time: 1795755998.6, opcode: 1, data: 'two' },
            { type: 'receive', time: 1795755998.7, opcode: 1, data: 'two' },
          ]),
        ],
      },
    },
    null,
    2,
  );
}
