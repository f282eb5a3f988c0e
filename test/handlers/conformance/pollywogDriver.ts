/** A driver for Pollywog's own client in the classic form: `pollywogDriver.js URL AGENT`. */
import { connect } from '../../../src/client/index.ts';

const [url = '', agent = 'pollywog'] = process.argv.slice(2);
const query = `agent=${encodeURIComponent(agent)}`;

/** Echoes until the connection ends. @returns the last message */
async function run(path: string, echoes: boolean): Promise<string> {
  const client = await connect(url + path, { maxMessage: '64MB' });
  let last = '';
  for await (const message of client) {
    last = String(message.slice(0, 100));
    if (echoes) await client.send(message);
  }
  await client.closed;
  return last;
}

const count = Number(await run('/getCaseCount', false));
for (let index = 1; index <= count; index++) await run(`/runCase?case=${index}&${query}`, true);
await run(`/updateReports?${query}`, false);
