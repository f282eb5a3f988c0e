/** The handler `inspect`: the inspector's WebSocket. messages.ts has its messages, entry.ts the rules of entry. */
import { isApiToken, judgeToken, type Tokens, wrongToken } from '../../access/tokens.ts';
import { closeConnection } from '../../core/close.ts';
import { establish } from '../../core/places.ts';
import { pauseMessages } from '../../core/processData.ts';
import { version } from '../../process/system.ts';
import { CloseCode, closeCodeFor, ProtocolError } from '../../protocol/codes.ts';
import type { Head } from '../../protocol/http/head.ts';
import { maxInspectedChannels, maxInspectors } from '../../protocol/inspectorLimits.ts';
import { asksForWebSocket } from '../../protocol/websocket/handshake.ts';
import { messageText } from '../../protocol/websocket/message.ts';
import type { Connection, Handler, Server } from '../../records/records.ts';
import type { Channels } from '../channels/records.ts';
import { type InspectorEntry, judgeEntry } from './entry.ts';
import { explainKept } from './explanation.ts';
import { inspectorSubprotocol, type PageMessage, type WelcomeMessage } from './messages.ts';
import { maxPageMessage, parsePageMessage } from './parse.ts';
import {
  addSession,
  endSession,
  type InspectorSession,
  type Inspectors,
  inspectorLimits,
  inspectorName,
  newSession,
  openForPage,
  sendFrames,
  sendToPage,
  sessionMemory,
  watchConnection,
} from './session.ts';
import { exportRecording } from './watch.ts';
import { sendFromPage, shutWorkbench } from './workbench.ts';

/** Adds the handler. It refuses every handshake unless the server has `--inspect`, or the request is from the control socket. */
export function openInspectors(server: Server, channels: Channels, tokens: Tokens): Inspectors {
  const inspectors: Inspectors = {
    ...{ server, channels, tokens, version: version() },
    sessions: new Set(),
    workbenchWire: undefined,
    timer: undefined,
    ticks: 0,
  };
  server.handlers.set(inspectorName, newInspectorHandler(inspectors));
  closeAfterReplacement(inspectors);
  return inspectors;
}

/** A reload that replaces the API token closes the sessions that have entered with the old one. */
function closeAfterReplacement({ server, tokens, sessions }: Inspectors): void {
  let { api } = tokens;
  server.reloadables.push({
    prepare: async () => () => {
      const isReplaced = tokens.api !== api;
      api = tokens.api;
      for (const { connection, entry } of isReplaced ? [...sessions] : [])
        if (entry.kind === 'token')
          closeConnection(connection, CloseCode.NotIdentified, 'the API token was replaced');
      return [];
    },
  });
}

function newInspectorHandler(inspectors: Inspectors): Handler {
  const { tokens } = inspectors;
  const entries = new WeakMap<Head, InspectorEntry>();
  const sessionOf = ({ data }: Connection) => data as InspectorSession;

  return {
    name: inspectorName,
    subprotocols: [inspectorSubprotocol],
    isOff: ({ inspect }) => !inspect,

    admit(connection, request) {
      entries.set(request, judgeEntry(connection, request, tokens));
      if (!asksForWebSocket(request)) throw new ProtocolError(400, 'the inspector needs a WebSocket');
      checkRoom(inspectors);
    },

    // Most inspectors run on this machine, where compression saves nothing.
    grantDeflate: () => undefined,

    awaited: { what: 'message "enter"', code: CloseCode.PolicyViolation },

    opened(connection, request) {
      const entry: InspectorEntry = (request && entries.get(request)) ?? { kind: 'token', why: '' };
      connection.data = newSession(inspectors, connection, entry);
      connection.trustLevel = 2;
      connection.stageSince = connection.server.now;
    },

    message(connection, message) {
      const session = sessionOf(connection);
      try {
        if (!message.isText)
          throw new ProtocolError(CloseCode.UnsupportedData, 'messages to the inspector are texts');
        if (message.end - message.start > maxPageMessage)
          throw new ProtocolError(
            CloseCode.MessageTooBig,
            `a message to the inspector has at most ${maxPageMessage} bytes`,
          );
        const parsed = parsePageMessage(messageText(message));
        if (inspectors.sessions.has(session)) handlePageMessage(session, parsed);
        else enter(session, parsed);
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        const code = error.code < 1000 ? closeCodeFor(error.code) : error.code;
        closeConnection(connection, code, error.message);
      }
    },

    closed: connection => endSession(sessionOf(connection)),

    held: connection => sessionMemory(sessionOf(connection)),
    discard: connection => watchConnection(sessionOf(connection), undefined),
  };
}

function checkRoom({ sessions }: Inspectors): void {
  if (sessions.size < maxInspectors) return;
  throw new ProtocolError(503, `${maxInspectors} inspectors are open already; close one`);
}

/** The first message. @throws ProtocolError to close the connection */
function enter(session: InspectorSession, message: PageMessage): void {
  const { connection, entry, inspectors } = session;
  if (message.type !== 'enter')
    throw new ProtocolError(CloseCode.PolicyViolation, 'the first message must be "enter"');
  if (entry.kind === 'token') {
    if (message.token === undefined)
      throw new ProtocolError(401, `the inspector needs the API token: ${entry.why}`);
    if (!isApiToken(inspectors.tokens, message.token)) return refuseToken(session);
  }
  checkRoom(inspectors);
  connection.trustLevel = 3;
  establish(connection);
  sendToPage(session, welcome(inspectors));
  addSession(session);
}

/** Refuses a wrong token after the delay that slows down guessing. @throws ProtocolError 401 or 429 to refuse it at once */
function refuseToken({ connection, inspectors }: InspectorSession): void {
  const refusal = wrongToken('use the one in the file that --api-token names');
  const delay = judgeToken(inspectors.tokens, connection);
  if (delay === 0) throw refusal;
  pauseMessages(connection);
  const refuse = () => closeConnection(connection, CloseCode.NotIdentified, refusal.message);
  setTimeout(refuse, delay).unref();
}

function welcome({ server, channels, version }: Inspectors): WelcomeMessage {
  const handlers = [...server.handlers.values()].filter(
    ({ name, isOff }) => name !== inspectorName && isOff?.(server.configuration) !== true,
  );
  return {
    type: 'welcome',
    version,
    handlers: handlers.map(({ name, subprotocols }) => ({
      name,
      path: `/${encodeURIComponent(name)}`,
      subprotocols: Array.isArray(subprotocols) ? [name, ...subprotocols] : [name],
    })),
    channels: [...channels.byName.keys()].slice(0, maxInspectedChannels),
    limits: inspectorLimits,
  };
}

type WorkbenchMessage = Extract<PageMessage, { readonly type: 'open' | 'send' | 'shut' }>;

function handlePageMessage(session: InspectorSession, message: PageMessage): void {
  switch (message.type) {
    case 'enter':
      throw new ProtocolError(CloseCode.PolicyViolation, 'this page has entered already');
    case 'watch':
      return watch(session, message.serial);
    case 'pause':
      sendFrames(session);
      session.isPaused = message.isPaused;
      return;
    case 'explain': {
      const { kept } = session.watch ?? {};
      const answer = kept === undefined ? 'no connection is watched' : explainKept(kept, message.frame);
      if (typeof answer === 'string') fail(session, 'explain', message.frame, answer);
      else sendToPage(session, answer);
      return;
    }
    case 'export':
      if (session.watch?.connection.serial === message.serial)
        sendToPage(session, exportRecording(session.watch));
      else fail(session, 'export', message.serial, 'this connection is not watched');
      return;
    case 'open':
    case 'send':
    case 'shut':
      return useWorkbench(session, message);
  }
}

function useWorkbench(session: InspectorSession, message: WorkbenchMessage): void {
  const { type, id } = message;
  try {
    if (message.type === 'open') return openForPage(session, message);
    const workbench = session.workbenches.get(id);
    if (workbench === undefined) throw new ProtocolError(409, `there is no workbench connection ${id}`);
    if (message.type === 'send') sendFromPage(workbench, Buffer.from(message.hex, 'hex'));
    else shutWorkbench(workbench, message.isReset === true);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    fail(session, type, id, error.message);
  }
}

function fail(session: InspectorSession, about: PageMessage['type'], id: number, why: string): void {
  sendToPage(session, { type: 'failed', about, id, why });
}

function watch(session: InspectorSession, serial: number | null): void {
  const { inspectors } = session;
  if (serial === null) return watchConnection(session, undefined);
  const connection = inspectors.server.table.entries.find(
    (entry): entry is Connection =>
      entry?.kind === 'connection' && entry.serial === serial && !entry.isControl,
  );
  if (connection === undefined || connection.phase === 'gone') {
    watchConnection(session, undefined);
    sendToPage(session, { type: 'state', serial, state: null });
  } else if (connection.handlerName === inspectorName) {
    fail(session, 'watch', serial, 'this is an inspector: each of its frames would cause another');
  } else watchConnection(session, connection);
}
