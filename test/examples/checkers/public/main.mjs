/**
 * The page: the lobby, or one table. The module sends the whole table with each change, and `render` draws it.
 *
 * @import { Game, Move, Side } from './rules.mjs'
 *
 * @typedef {object} Table the message of the module
 * @property {string} id
 * @property {Record<Side, boolean>} seats taken
 * @property {Record<Side, boolean>} present a client of the player is connected
 * @property {number} spectators
 * @property {readonly string[]} moves
 * @property {Side | null} offer
 * @property {{ winner: Side | null, why: string } | null} end
 */

import { newBoard, pieceImage } from './board.mjs';
import { keepConnected } from './connection.mjs';
import { recordOf } from './record.mjs';
import { gameAfter, movesOf, newGame, notationOf, otherSide, sideOf } from './rules.mjs';

/** @param {string} id @returns {any} */
const element = id => document.getElementById(id);

/** @type {Record<Side, string>} */
const names = { red: 'Red', white: 'White' };

/** @type {Table | undefined} */
let table;
/** The sides that this browser plays. @type {readonly Side[]} */
let sides = [];
/** A move that the server has not confirmed. The page shows it already, and sends it again after a reconnect. @type {{ ply: number, move: string } | undefined} */
let pending;
/** The game after each move; the first one is the start. @type {Game[]} */
const games = [newGame()];
/** The number of moves shown; undefined: all. @type {number | undefined} */
let shownPly;
/** The squares of the next move that the user has chosen so far. @type {readonly number[]} */
let chosen = [];
/** The user has turned the board. */
let isTurned = false;
/** @type {ReturnType<typeof setInterval> | undefined} */
let replay;

const board = newBoard(element('board'), choose);

// The table, and the key of this browser.

const keyName = 'checkers-key';

/** Identifies the player to the module, in each tab of this browser. */
function ownKey() {
  const fresh = () =>
    [...crypto.getRandomValues(new Uint8Array(16))].map(one => one.toString(16).padStart(2, '0')).join('');
  try {
    const kept = localStorage.getItem(keyName);
    if (kept !== null) return kept;
    const key = fresh();
    localStorage.setItem(keyName, key);
    return key;
  } catch {
    // No storage: the seat lasts as long as the page.
    return fresh();
  }
}

const key = ownKey();
let id = new URLSearchParams(location.search).get('game');
/** @type {ReturnType<typeof keepConnected> | undefined} */
let connection;

/** @param {object} first the request when the connection opens for the first time */
function connect(first) {
  connection = keepConnected('/checkers', {
    opened() {
      connection?.send(id === null ? first : { type: 'enter', id, key });
      if (id !== null && pending !== undefined) connection?.send({ type: 'move', ...pending });
    },
    received,
    changed: showLink,
  });
}

/** @param {any} message */
function received(message) {
  if (message.type === 'table') receiveTable(message);
  else if (message.type === 'you') {
    sides = message.sides;
    render();
  } else if (message.type === 'refused') refused(message.why);
}

/** @param {Table} next */
function receiveTable(next) {
  const before = table;
  table = next;
  if (id !== next.id) {
    id = next.id;
    history.pushState(null, '', `?game=${id}`);
  }
  if (pending !== undefined && next.moves.length > pending.ply) pending = undefined;
  update();
  if (before !== undefined) announceChanges(before, next);
}

/** @param {string} why */
function refused(why) {
  if (table === undefined && id !== null) return giveUp(why);
  if (table === undefined) {
    connection?.end();
    element('problem').textContent = sentence(why);
    return;
  }
  pending = undefined;
  chosen = [];
  update();
  say(sentence(why));
}

/** @param {string} why */
function giveUp(why) {
  connection?.end();
  element('why').textContent = sentence(why);
  showOnly('lost');
}

/** @param {string} text */
const sentence = text => `${text[0]?.toUpperCase()}${text.slice(1)}.`;

/** The moves so far, with the pending one. */
function allMoves() {
  const moves = table?.moves ?? [];
  return pending !== undefined && pending.ply === moves.length ? [...moves, pending.move] : moves;
}

/** Brings `games` up to date. */
function update() {
  const moves = allMoves();
  let same = 0;
  while (same < moves.length && games[same + 1]?.moves[same] === moves[same]) same++;
  games.length = same + 1;
  try {
    for (const move of moves.slice(same)) games.push(gameAfter(/** @type {Game} */ (games.at(-1)), move));
  } catch {
    // The server's rules have changed since this page was loaded.
    location.reload();
  }
  render();
}

// Moves.

const isLive = () => shownPly === undefined || shownPly >= games.length - 1;

/** The moves that the user may make now. @returns {Move[]} */
function ownMoves() {
  const game = games.at(-1);
  if (table === undefined || game === undefined || !isLive() || table.end !== null || pending !== undefined)
    return [];
  if (!table.seats.red || !table.seats.white || !sides.includes(game.position.turn)) return [];
  return movesOf(game.position);
}

/** The moves that begin with the chosen squares. */
const candidates = () => ownMoves().filter(({ path }) => chosen.every((square, at) => path[at] === square));

/** For each square that the user may choose next, the remaining moves. The last square of a jump chooses all of it. */
function nextSquares() {
  /** @type {Map<number, Move[]>} */
  const found = new Map();
  if (chosen.length === 0) return found;
  const moves = candidates();
  for (const { path } of moves) {
    for (const square of path.slice(chosen.length)) {
      const through = moves.filter(one => one.path.indexOf(square, chosen.length) > 0);
      const isNext = path[chosen.length] === square;
      if (isNext || through.length === 1)
        found.set(square, isNext ? moves.filter(one => one.path[chosen.length] === square) : through);
    }
  }
  return found;
}

/** @param {number} square */
function choose(square) {
  const left = nextSquares().get(square);
  const [only, ...others] = left ?? [];
  if (only !== undefined && others.length === 0) return move(only);
  if (only !== undefined) {
    chosen = [...chosen, square];
  } else if (ownMoves().some(({ path }) => path[0] === square)) {
    chosen = chosen[0] === square ? [] : [square];
  } else {
    chosen = [];
    const why = whyNot(square);
    if (why !== '') say(why);
  }
  render();
}

/** @param {number} square */
function whyNot(square) {
  const game = games.at(-1);
  const own = ownMoves();
  const [first] = own;
  if (
    game === undefined ||
    first === undefined ||
    sideOf(game.position.board[square - 1] ?? '.') !== game.position.turn
  )
    return '';
  if (first.captured.length > 0) return 'You must jump.';
  return 'This piece cannot move.';
}

/** @param {Move} what */
function move(what) {
  chosen = [];
  pending = { ply: games.length - 1, move: notationOf(what) };
  shownPly = undefined;
  connection?.send({ type: 'move', ...pending });
  update();
}

// Drawing.

/** @param {'lobby' | 'table' | 'lost'} name */
function showOnly(name) {
  for (const one of ['lobby', 'table', 'lost']) element(one).hidden = one !== name;
}

function render() {
  if (table === undefined) return;
  showOnly('table');
  const ply = shownPly ?? games.length - 1;
  const game = games[ply] ?? newGame();
  const before = games[ply - 1];
  const last = before && movesOf(before.position).find(one => notationOf(one) === game.moves.at(-1));
  const own = ownMoves();
  const usual = sides.length === 1 && sides[0] === 'white' ? 'white' : 'red';
  const bottom = isTurned ? otherSide(usual) : usual;
  board.show({
    position: game.position,
    bottom,
    move: last,
    movable: new Set(own.map(({ path }) => path[0] ?? 0)),
    targets: new Set(nextSquares().keys()),
    chosen,
  });
  showPlayer('far', otherSide(bottom), game);
  showPlayer('near', bottom, game);
  const { status, hint } = statusOf(own);
  setText(element('status'), status);
  setText(element('hint'), hint);
  document.title = own.length > 0 ? `● ${status} · Checkers` : `${status} · Checkers`;
  showCards(table);
  showMoves(ply);
}

/** @param {HTMLElement} one @param {string} text */
function setText(one, text) {
  if (one.textContent !== text) one.textContent = text;
}

/** @param {readonly Move[]} own @returns {{ status: string, hint: string }} */
function statusOf(own) {
  if (table === undefined) return { status: '', hint: '' };
  const { end, seats, present } = table;
  const { turn } = (games[shownPly ?? games.length - 1] ?? newGame()).position;
  if (!isLive())
    return { status: `Move ${shownPly} of ${games.length - 1}`, hint: `${names[turn]} is to move.` };
  if (end !== null) {
    const hint = sentence(end.why);
    if (end.winner === null) return { status: 'Draw', hint };
    if (sides.length === 1) return { status: sides.includes(end.winner) ? 'You win' : 'You lose', hint };
    return { status: `${names[end.winner]} wins`, hint };
  }
  if (!seats.red || !seats.white) {
    if (sides.length > 0) return { status: 'Waiting for your opponent', hint: '' };
    return {
      status: 'You are invited',
      hint: `${names[seats.red ? 'red' : 'white']} waits for an opponent.`,
    };
  }
  if (own.length > 0) {
    const status = sides.length === 2 ? `${names[turn]} to move` : 'Your move';
    if (chosen.length > 1) return { status, hint: 'The jump goes on: choose the next square.' };
    return { status, hint: (own[0]?.captured.length ?? 0) > 0 ? 'You must jump.' : '' };
  }
  const isWatching = sides.length === 0 ? 'You are watching. ' : '';
  const isAway = !present[turn] && !sides.includes(turn);
  return {
    status: `${names[turn]} to move`,
    hint: isWatching + (isAway ? `${names[turn]} is not connected.` : ''),
  };
}

/** @param {'near' | 'far'} place @param {Side} side @param {Game} game */
function showPlayer(place, side, game) {
  const at = element(place);
  const { seats, present, end } = /** @type {Table} */ (table);
  const captured = 12 - [...game.position.board].filter(piece => sideOf(piece) === otherSide(side)).length;
  const isTurn = end === null && seats.red && seats.white && game.position.turn === side;
  const who = sides.includes(side)
    ? sides.length === 2
      ? ''
      : 'you'
    : seats[side]
      ? present[side]
        ? ''
        : 'away'
      : 'free seat';
  const state = `${side} ${who} ${captured} ${isTurn}`;
  if (at.dataset.state === state) return;
  at.dataset.state = state;
  at.classList.toggle('turn', isTurn);
  const name = document.createElement('b');
  name.textContent = names[side];
  const note = document.createElement('small');
  note.textContent = who;
  const taken = document.createElement('span');
  taken.className = 'taken';
  taken.ariaLabel = `${captured} captured`;
  taken.role = 'img';
  for (let n = 0; n < captured; n++) taken.append(pieceImage(side === 'red' ? 'w' : 'r'));
  at.replaceChildren(pieceImage(side === 'red' ? 'r' : 'w'), name, note, taken);
}

/** @param {Table} now */
function showCards({ seats, end, offer, spectators, moves }) {
  const free = !seats.red ? 'red' : !seats.white ? 'white' : undefined;
  const isPlaying = sides.length > 0;
  const isOn = end === null && free === undefined;
  element('invite').hidden = free === undefined || !isPlaying;
  element('seat').hidden = free === undefined || isPlaying;
  if (free) setText(element('sit'), `Play ${free}`);
  element('address').value = location.href;
  const mayAnswer = isOn && offer !== null && sides.includes(otherSide(offer));
  if (offer !== null) setText(element('offered').querySelector('h2'), `${names[offer]} offers a draw`);
  element('offered').hidden = !mayAnswer;
  element('actions').hidden = !isOn || !isPlaying || mayAnswer;
  element('offer').disabled = offer !== null;
  setText(element('offer'), offer !== null && sides.includes(offer) ? 'Draw offered' : 'Offer a draw');
  element('again').hidden = end === null;
  element('record').hidden = moves.length === 0;
  setText(
    element('crowd'),
    spectators === 0 ? '' : spectators === 1 ? '1 spectator' : `${spectators} spectators`,
  );
}

/** @param {number} ply the number of moves shown */
function showMoves(ply) {
  const list = element('moves');
  const { moves } = games.at(-1) ?? newGame();
  while (list.childElementCount > Math.ceil(moves.length / 2)) list.lastChild.remove();
  for (const [at, move] of moves.entries()) {
    const row = list.children[at >> 1] ?? list.appendChild(document.createElement('li'));
    const button = row.children[at % 2] ?? row.appendChild(moveButton(at + 1));
    setText(button, move);
    button.ariaCurrent = at + 1 === ply ? 'step' : null;
  }
  const odd = list.lastElementChild;
  if (odd && moves.length % 2 === 1 && odd.childElementCount === 2) odd.lastChild.remove();
  const current = list.querySelector('[aria-current]');
  if (current) {
    // `scrollIntoView` would scroll the page, too.
    const row = current.parentElement;
    list.scrollTop = row.offsetTop - list.clientHeight / 2;
    list.scrollLeft = row.offsetLeft - list.clientWidth / 2;
  }
  element('table').classList.toggle('past', !isLive());
  element('table').classList.toggle('replaying', replay !== undefined);
}

/** @param {number} ply */
function moveButton(ply) {
  const button = document.createElement('button');
  button.type = 'button';
  button.onclick = () => step(ply);
  return button;
}

// Replay.

/** @param {number} ply */
function step(ply) {
  stopReplay();
  showPly(ply);
}

/** @param {number} ply */
function showPly(ply) {
  const last = games.length - 1;
  shownPly = ply >= last ? undefined : Math.max(0, ply);
  chosen = [];
  render();
}

function stopReplay() {
  clearInterval(replay);
  replay = undefined;
}

/** Replays the game from the history of its channel. */
async function startReplay() {
  if (replay !== undefined) {
    stopReplay();
    return render();
  }
  const answer = await fetch(`/channels/checkers/${id}?last=1000`);
  const { messages } = await answer.json();
  const record = recordOf(messages.map((/** @type {{ data: unknown }} */ { data }) => data));
  if (record === undefined) return say('The history of this game is gone.');
  if (table !== undefined && record.game.moves.length > table.moves.length)
    table = { ...table, moves: record.game.moves };
  let ply = isLive() ? 0 : (shownPly ?? 0);
  update();
  showPly(ply);
  replay = setInterval(() => {
    ply++;
    if (ply >= games.length - 1) stopReplay();
    showPly(ply);
  }, 900);
  render();
}

// Announcements of screen readers.

/** @param {string} text */
function say(text) {
  element('said').textContent = '';
  // Empty the region first: screen readers do not announce the same text twice.
  requestAnimationFrame(() => {
    element('said').textContent = text;
  });
  if (table !== undefined) setText(element('hint'), text);
}

/** @param {Table} before @param {Table} now */
function announceChanges(before, now) {
  const { status, hint } = statusOf(ownMoves());
  const end = now.end !== null && before.end === null ? `${status}. ${hint}` : '';
  /** @type {string[]} */
  const texts = [];
  if (now.moves.length > before.moves.length) {
    const game = games[now.moves.length - 1];
    const last = now.moves.at(-1) ?? '';
    if (game !== undefined) texts.push(spokenMove(game, last));
    if (end === '') texts.push(status === 'Your move' ? `${status}. ${hint}` : '');
  }
  if (now.seats.red && now.seats.white && !(before.seats.red && before.seats.white))
    texts.push(`Your opponent sits down. ${status}.`);
  texts.push(end);
  const text = texts.filter(one => one !== '').join(' ');
  if (text === '') return;
  element('said').textContent = text;
}

/** @param {Game} before @param {string} notation */
function spokenMove({ position }, notation) {
  const found = movesOf(position).find(one => notationOf(one) === notation);
  if (found === undefined) return '';
  const { path, captured } = found;
  const [from, ...to] = path;
  const how = captured.length === 0 ? 'moves' : 'jumps';
  const loss = captured.length === 0 ? '' : `, and captures ${captured.length}`;
  return `${names[position.turn]} ${how} from ${from} to ${to.join(', ')}${loss}.`;
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let linkNotice;

/** Shows a notice if the connection is lost for more than a moment. @param {boolean} isOpen */
function showLink(isOpen) {
  clearTimeout(linkNotice);
  if (isOpen) return setText(element('link'), '');
  linkNotice = setTimeout(() => setText(element('link'), 'Connecting …'), 700);
}

// Buttons.

for (const one of document.querySelectorAll('[data-create]')) {
  one.addEventListener('click', () => {
    connection?.end();
    connect({ type: 'create', side: /** @type {HTMLElement} */ (one).dataset['create'], key });
  });
}

/** @param {string} name @param {() => object} request */
const asks = (name, request) => {
  element(name).onclick = () => connection?.send(request());
};
const freeSide = () => (table?.seats.red ? 'white' : 'red');
asks('sit', () => ({ type: 'sit', side: freeSide() }));
asks('both', () => ({ type: 'sit', side: freeSide() }));
asks('offer', () => ({ type: 'offer' }));
asks('accept', () => ({ type: 'accept' }));
asks('decline', () => ({ type: 'decline' }));

element('resign').onclick = () => element('surely').showModal();
element('surely').onclose = () => {
  if (element('surely').returnValue === 'yes') connection?.send({ type: 'resign' });
  element('surely').returnValue = '';
};

/** @param {HTMLButtonElement} button @param {string} text */
async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers allow the clipboard only over HTTPS and on localhost. Elsewhere, copy a selected text.
    const field = document.createElement('textarea');
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand('copy');
    field.remove();
  }
  const usual = button.textContent;
  button.textContent = 'Copied';
  setTimeout(() => {
    button.textContent = usual;
  }, 1500);
}

element('copy').onclick = () => copy(element('copy'), location.href);
element('address').onfocus = () => element('address').select();
element('copy-record').onclick = () => copy(element('copy-record'), numbered(table?.moves ?? []));

/** As in a book: `1. 11-15 23-19 2. …`. @param {readonly string[]} moves */
const numbered = moves => moves.map((move, at) => (at % 2 === 0 ? `${at / 2 + 1}. ${move}` : move)).join(' ');

if (typeof navigator.share === 'function') {
  element('share').hidden = false;
  element('share').onclick = () =>
    navigator.share({ title: 'Checkers', text: 'Play checkers with me', url: location.href }).catch(() => {});
}

/** @type {Record<string, () => void>} */
const steps = {
  first: () => step(0),
  back: () => step((shownPly ?? games.length - 1) - 1),
  play: () => void startReplay(),
  next: () => step((shownPly ?? games.length - 1) + 1),
  last: () => step(games.length),
};
for (const one of document.querySelectorAll('[data-step]'))
  one.addEventListener('click', () => steps[/** @type {HTMLElement} */ (one).dataset['step'] ?? '']?.());

element('turn').onclick = () => {
  isTurned = !isTurned;
  render();
};

addEventListener('keydown', event => {
  if (event.key !== 'Escape' || chosen.length === 0) return;
  chosen = [];
  render();
});

// Back from a game to the lobby, and to another game.
addEventListener('popstate', () => location.reload());

if (id === null) {
  const picture = newBoard(element('picture'));
  const none = new Set();
  picture.show({
    position: newGame().position,
    bottom: 'red',
    move: undefined,
    movable: none,
    targets: none,
    chosen: [],
  });
  showOnly('lobby');
} else {
  connect({});
}
