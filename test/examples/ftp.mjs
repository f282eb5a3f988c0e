/**
 * A module with a wire: the control connection of FTP (RFC 959), enough for a client to log in and look around, on the ports
 * that speak WebSocket. FTP clients wait for the server to speak first, so give it a listener with `?greet`.
 *
 * @import { Wire, WireConnection } from 'pollywog'
 * @typedef {{ user: string, isIn: boolean }} Session
 */

/** @type {Record<string, (connection: WireConnection<Session>, argument: string) => string>} */
const commands = {
  USER(connection, name) {
    connection.data = { user: name, isIn: false };
    return `331 password for ${name}, please`;
  },
  PASS({ data }) {
    if (data.user === '') return '503 USER first';
    data.isIn = true;
    return `230 welcome, ${data.user}`;
  },
  SYST: () => '215 UNIX Type: L8',
  PWD: ({ data }) => (data.isIn ? '257 "/" is where you are' : '530 log in first'),
  TYPE: () => '200 as you like',
  NOOP: () => '200 so be it',
  QUIT(connection) {
    connection.send('221 goodbye\r\n');
    connection.end();
    return '';
  },
};

/** @type {Wire<Session>} */
export const wire = {
  name: 'ftp',

  /** Clients usually wait for the greeting; this recognizes one that sends USER first. */
  matches(firstBytes) {
    const text = firstBytes.toString('latin1');
    if (/^USER [^\r\n]*\r?\n/i.test(text)) return true;
    return 'USER '.startsWith(text.slice(0, 5).toUpperCase()) ? undefined : false;
  },

  greet(connection) {
    connection.data = { user: '', isIn: false };
    connection.send('220 pollywog\r\n');
  },

  receive(connection, bytes) {
    let used = 0;
    for (let end = bytes.indexOf('\n'); end >= 0 && connection.isOpen; end = bytes.indexOf('\n', used)) {
      const [, verb = '', argument = ''] = /^(\w*) ?(.*?)\r?$/.exec(bytes.toString('utf8', used, end)) ?? [];
      used = end + 1;
      connection.data ??= { user: '', isIn: false };
      const answer = commands[verb.toUpperCase()]?.(connection, argument) ?? `502 there is no ${verb} here`;
      if (answer !== '') connection.send(`${answer}\r\n`);
    }
    return used;
  },

  goodbye(connection, reason) {
    connection.send(`421 ${reason}\r\n`);
  },

  closed({ data }, log) {
    log.info('ftp ended', { user: data?.user });
  },
};
