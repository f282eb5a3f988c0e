/**
 * The rules of English draughts (American checkers): pure functions of plain values, for the module and for the page.
 *
 * The 32 dark squares have the numbers 1 to 32, row by row from Red's side of the board. Red moves first.
 *
 * @typedef {'red' | 'white'} Side
 *
 * @typedef {object} Position
 * @property {string} board a character for each square: `r` and `w` are men, `R` and `W` kings, `.` is empty
 * @property {Side} turn the side to move
 *
 * @typedef {object} Move
 * @property {readonly number[]} path the squares on which the piece stands, one after the other; at least two
 * @property {readonly number[]} captured the squares that it jumps over
 *
 * @typedef {object} Game
 * @property {Position} position
 * @property {readonly string[]} moves in the notation of `notationOf`
 * @property {readonly string[]} since the positions since the last capture or advance of a man; only these can be repeated
 *
 * @typedef {object} Result
 * @property {Side | undefined} winner undefined after a draw
 * @property {string} why
 */

/** The game is a draw after this many moves of both sides without a capture or an advance of a man. */
export const longestQuiet = 80;

const size = 8;
const perRow = size / 2;
const count = size * perRow;

/** @type {Position} */
const start = { board: 'r'.repeat(12) + '.'.repeat(8) + 'w'.repeat(12), turn: 'red' };

/** Row and column on the whole board, from 0, of a square's number. @param {number} square */
export function placeOf(square) {
  const row = Math.floor((square - 1) / perRow);
  return { row, column: 2 * ((square - 1) % perRow) + (row % 2 === 0 ? 1 : 0) };
}

/** @param {number} row @param {number} column @returns the number of the dark square there; 0 if there is none */
export function squareAt(row, column) {
  const isDark = (row + column) % 2 === 1;
  const isInside = row >= 0 && row < size && column >= 0 && column < size;
  return isDark && isInside ? row * perRow + Math.floor(column / 2) + 1 : 0;
}

/** The diagonals: first the two towards White's side, then the two towards Red's. */
const directions = [
  [1, -1],
  [1, 1],
  [-1, -1],
  [-1, 1],
];
/** For each square, the square at this distance in each direction; 0 if it is off the board. */
const reach = (/** @type {number} */ steps) =>
  Array.from({ length: count + 1 }, (_, square) => {
    const { row, column } = placeOf(square);
    return directions.map(([down = 0, right = 0]) =>
      square === 0 ? 0 : squareAt(row + steps * down, column + steps * right),
    );
  });
const neighbours = reach(1);
const landings = reach(2);

const forward = { r: [0, 1], w: [2, 3] };
const everywhere = [0, 1, 2, 3];

/** @param {string} piece */
const directionsOf = piece => forward[/** @type {'r' | 'w'} */ (piece)] ?? everywhere;

/** @param {Side} side @returns {Side} */
export const otherSide = side => (side === 'red' ? 'white' : 'red');

/** @param {Position} position @param {number} square @returns {string} the piece there, or `.` */
export const pieceOn = ({ board }, square) => board[square - 1] ?? '.';

/** @param {string} piece @returns {Side | undefined} undefined if the square is empty */
export function sideOf(piece) {
  if (piece === '.') return undefined;
  return piece.toLowerCase() === 'r' ? 'red' : 'white';
}

/** Whether a man of this side is crowned here. @param {string} piece @param {number} square */
const isCrownedOn = (piece, square) =>
  (piece === 'r' && square > count - perRow) || (piece === 'w' && square <= perRow);

/** All legal moves. If there is a jump, only the jumps are legal. @param {Position} position @returns {Move[]} */
export function movesOf(position) {
  /** @type {Move[]} */
  const steps = [];
  /** @type {Move[]} */
  const jumps = [];
  for (let square = 1; square <= count; square++) {
    const piece = pieceOn(position, square);
    if (sideOf(piece) !== position.turn) continue;
    addJumps(position, piece, { path: [square], captured: [] }, jumps);
    if (jumps.length > 0) continue;
    for (const direction of directionsOf(piece)) {
      const to = neighbours[square]?.[direction] ?? 0;
      if (to > 0 && pieceOn(position, to) === '.') steps.push({ path: [square, to], captured: [] });
    }
  }
  return jumps.length > 0 ? jumps : steps;
}

/**
 * Adds all jumps that begin with `begun`. A jump continues as long as the piece can jump. Jumped pieces stay on the board
 * until the move ends, and cannot be jumped again. The square that the piece has left is empty.
 * @param {Position} position @param {string} piece @param {Move} begun @param {Move[]} found
 */
function addJumps(position, piece, { path, captured }, found) {
  const from = path.at(-1) ?? 0;
  let isOver = true;
  // A man is crowned after the move: on the last row, it has no way forward and ends its move.
  for (const direction of directionsOf(piece)) {
    const over = neighbours[from]?.[direction] ?? 0;
    const to = landings[from]?.[direction] ?? 0;
    if (to === 0 || sideOf(pieceOn(position, over)) !== otherSide(position.turn)) continue;
    if (captured.includes(over) || (pieceOn(position, to) !== '.' && to !== path[0])) continue;
    isOver = false;
    addJumps(position, piece, { path: [...path, to], captured: [...captured, over] }, found);
  }
  if (isOver && path.length > 1) found.push({ path, captured });
}

/** The move as players write it: `11-15`, and `15x24` or `15x24x31` for jumps. @param {Move} move */
export const notationOf = ({ path, captured }) => path.join(captured.length > 0 ? 'x' : '-');

/** @param {Position} position @param {Move} move one of `movesOf` @returns {Position} */
export function positionAfter({ board, turn }, { path, captured }) {
  const squares = [...board];
  const from = path[0] ?? 0;
  const to = path.at(-1) ?? 0;
  const piece = squares[from - 1] ?? '.';
  squares[from - 1] = '.';
  for (const square of captured) squares[square - 1] = '.';
  squares[to - 1] = isCrownedOn(piece, to) ? piece.toUpperCase() : piece;
  return { board: squares.join(''), turn: otherSide(turn) };
}

/** @param {Position} position */
const keyOf = ({ board, turn }) => board + turn;

/** @param {Position} [position] the first one @returns {Game} */
export const newGame = (position = start) => ({ position, moves: [], since: [keyOf(position)] });

/**
 * @param {Game} game @param {string} notation of the next move
 * @returns {Game} the game after the move; `game` does not change
 * @throws {RangeError} a sentence for the player, if the move is not legal
 */
export function gameAfter(game, notation) {
  const result = resultOf(game);
  if (result !== undefined) throw new RangeError(`the game is over: ${result.why}`);
  const { position, moves, since } = game;
  const legal = movesOf(position);
  const move = legal.find(one => notationOf(one) === notation);
  if (move === undefined) throw new RangeError(whyIllegal(position, legal, notation));
  const next = positionAfter(position, move);
  const isQuiet = move.captured.length === 0 && /[RW]/.test(pieceOn(position, move.path[0] ?? 0));
  const key = keyOf(next);
  return {
    position: next,
    moves: [...moves, notation],
    since: isQuiet ? [...since, key] : [key],
  };
}

/** @param {Position} position @param {readonly Move[]} legal @param {string} notation */
function whyIllegal(position, legal, notation) {
  const from = Number.parseInt(notation, 10);
  if (sideOf(pieceOn(position, from)) !== position.turn) return `${position.turn} has no piece on ${from}`;
  const [first] = legal;
  const isJump = first !== undefined && first.captured.length > 0;
  if (isJump && !notation.includes('x')) return `${position.turn} must jump`;
  const begun = isJump && legal.find(one => notationOf(one).startsWith(`${notation}x`));
  if (begun) return `the jump goes on: ${notationOf(begun)}`;
  return `${notation} is not a legal move`;
}

/** The result by the rules. @param {Game} game @returns {Result | undefined} undefined while the game goes on */
export function resultOf({ position, since }) {
  const { turn } = position;
  if (movesOf(position).length === 0) {
    const hasPieces = [...position.board].some(piece => sideOf(piece) === turn);
    return { winner: otherSide(turn), why: `${turn} has no ${hasPieces ? 'move' : 'pieces'} left` };
  }
  const key = keyOf(position);
  if (since.filter(one => one === key).length >= 3)
    return { winner: undefined, why: 'the same position for the third time' };
  if (since.length > longestQuiet)
    return { winner: undefined, why: '40 moves of each side without a capture or an advance of a man' };
  return undefined;
}

/** The game with these moves. @param {readonly string[]} moves @throws {RangeError} if one is not legal */
export const gameOf = moves => moves.reduce(gameAfter, newGame());
