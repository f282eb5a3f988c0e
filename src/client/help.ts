import { type HelpPage, showHelp } from '../options/help.ts';
import { table } from './table.ts';

const urls = `URL: ws://HOST:PORT/PATH, wss://..., unix:/SOCKET or ws+unix:/SOCKET:/PATH.
Times: 500ms, 30s, 2m. Sizes: 512KB, 16MB. 0 means never, or no limit.
Options with ... may be repeated. --wait 0 closes at once; --wait quiet waits
until no message has arrived for a second; --wait forever never closes.`;

const streams = `Each line of stdin is sent as a text message. At the end of stdin (or after -x)
the client waits as --wait says, closes, and prints messages until the server
has closed too; at a terminal it closes at once. With -n it waits for N messages
instead, for at most --wait. Messages go to stdout, everything else to stderr.
With --binary, stdout gets the bytes of every message and nothing else; without,
binary messages are shown on stderr. With --reconnect, -x is sent again on each
connection; messages in flight are lost.`;

const exits = `Exit codes: 0 done (closed with 1000, 1001 or 1005), 1 failed, 2 usage, 3 no
server there, 4 handshake refused, 5 closed with another code, 6 timed out,
7 protocol error by the server, 128+N ended by signal N.`;

const examples = `Examples:
  pollywog-client ws://localhost:8080/echo
  pollywog-client ws://localhost:8080/echo -x hello -1
  pollywog-client --nick ada --room pond ws://localhost:8080/`;

const page: HelpPage = {
  usage: 'pollywog-client [OPTION]... URL',
  options: table,
  paragraphs: [urls, streams, exits, examples],
};

/** The answer to `--help`, without a final newline. */
export function clientHelp(): string {
  return showHelp(page);
}
