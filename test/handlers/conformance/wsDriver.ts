/**
 * A driver for npm's ws in the classic form: `wsDriver.js URL AGENT` asks for the number of cases, runs each case by echoing
 * every message, and asks for the reports. It knows nothing of Pollywog.
 */
import WebSocket, { type ClientOptions } from 'ws';

const [url = '', agent = 'ws'] = process.argv.slice(2);
const query = `agent=${encodeURIComponent(agent)}`;

/** By default, ws rejects messages of more than 16,384 fragments. Those of cases 9.3.1 and 9.4.1 have 65,536. */
const options: ClientOptions & { maxFragments: number } = { maxFragments: 0 };

/** Echoes until the connection ends. @returns the last message */
async function run(path: string, echoes: boolean): Promise<string> {
  const client = new WebSocket(url + path, options);
  let last = '';
  client.on('message', (data, isBinary) => {
    if (echoes) client.send(data, { binary: isBinary });
    else last = String(data);
  });
  // `close` follows.
  client.on('error', () => {});
  await new Promise(resolve => client.once('close', resolve));
  return last;
}

const count = Number(await run('/getCaseCount', false));
for (let index = 1; index <= count; index++) await run(`/runCase?case=${index}&${query}`, true);
await run(`/updateReports?${query}`, false);
