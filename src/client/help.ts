import { type HelpPage, showHelp } from '../options/help.ts';
import { table } from './table.ts';

const urls = `URL: ws://HOST:PORT/PATH, wss://..., unix:/SOCKET or ws+unix:/SOCKET:/PATH.
Times: 500ms, 30s, 2m. Sizes: 512KB, 16MB. 0: never, no limit. ...: may be
repeated. --wait also takes quiet, until no message has come for a second, and
forever; --wait 0 closes at once.`;

const streams = `Each line of stdin is a text message. After the last one (or -x) the client
waits (--wait), closes, and prints what still comes until the server has closed,
too; at a terminal it closes at once. -n waits for messages instead, with -w so
long at most. stdout has the messages, stderr all else.
--binary prints their bytes alone; else binary ones are shown on stderr.
With --reconnect, -x is sent each time; what was on its way is lost.`;

const exits = `Exit codes: 0 done (1000, 1001, 1005), 1 failed, 2 usage, 3 no server there,
4 handshake refused, 5 closed with another code, 6 timed out, 7 protocol error
by the server, 128 and more: ended by that signal.`;

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
