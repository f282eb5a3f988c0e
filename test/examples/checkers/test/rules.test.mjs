/** The rules: known positions, known numbers of games, and random games against a second implementation. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  gameAfter,
  gameOf,
  longestQuiet,
  movesOf,
  newGame,
  notationOf,
  placeOf,
  positionAfter,
  resultOf,
  squareAt,
} from '../public/rules.mjs';

/** @import { Game, Move, Position, Side } from '../public/rules.mjs' */

/**
 * A position as a list of its pieces.
 * @param {Side} turn @param {string} pieces such as `r12 W3`
 * @returns {Position}
 */
function position(turn, pieces) {
  const squares = Array(32).fill('.');
  for (const piece of pieces.split(' ')) squares[Number(piece.slice(1)) - 1] = piece[0];
  return { board: squares.join(''), turn };
}

/** @param {Side} turn @param {string} pieces @returns the notations of all moves, sorted */
const legal = (turn, pieces) => movesOf(position(turn, pieces)).map(notationOf).sort();

/** @param {Side} turn @param {string} pieces @param {string} notation @returns the pieces after this move */
function after(turn, pieces, notation) {
  const { board } = gameAfter(newGame(position(turn, pieces)), notation).position;
  return [...board].flatMap((piece, at) => (piece === '.' ? [] : [`${piece}${at + 1}`])).join(' ');
}

/** @param {Position} from @param {number} depth @returns {number} the number of games with so many moves */
function perft(from, depth) {
  const moves = movesOf(from);
  if (depth === 1) return moves.length;
  return moves.reduce((sum, move) => sum + perft(positionAfter(from, move), depth - 1), 0);
}

test('the number of games of 1 to 7 moves is the known one', () => {
  const found = [1, 2, 3, 4, 5, 6, 7].map(depth => perft(newGame().position, depth));
  assert.deepEqual(found, [7, 49, 302, 1469, 7361, 36768, 179740]);
});

test('the squares are numbered from the left of the first row, on the dark squares only', () => {
  assert.deepEqual([1, 4, 5, 8, 29, 32].map(placeOf), [
    { row: 0, column: 1 },
    { row: 0, column: 7 },
    { row: 1, column: 0 },
    { row: 1, column: 6 },
    { row: 7, column: 0 },
    { row: 7, column: 6 },
  ]);
  for (let square = 1; square <= 32; square++) {
    const { row, column } = placeOf(square);
    assert.equal(squareAt(row, column), square);
  }
  assert.deepEqual([squareAt(0, 0), squareAt(-1, 0), squareAt(8, 1), squareAt(3, 8)], [0, 0, 0, 0]);
});

describe('moves', () => {
  test('a man moves forward only, and a king in all four directions', () => {
    assert.deepEqual(legal('red', 'r14 w32'), ['14-17', '14-18']);
    assert.deepEqual(legal('white', 'w14 r1'), ['14-10', '14-9']);
    assert.deepEqual(legal('red', 'R14 w32'), ['14-10', '14-17', '14-18', '14-9']);
    assert.deepEqual(legal('red', 'r5 w32'), ['5-9'], 'at the edge');
  });

  test('a man jumps forward only, and a king in all four directions', () => {
    assert.deepEqual(legal('red', 'r14 w9 w10 w17 w18'), ['14x21', '14x23']);
    assert.deepEqual(legal('red', 'R14 w9 w10 w17 w18'), ['14x21', '14x23', '14x5', '14x7']);
  });

  test('a player who can jump must jump, and may choose any of the jumps, even the shortest', () => {
    assert.deepEqual(legal('red', 'r1 r11 w15'), ['11x18']);
    assert.deepEqual(legal('red', 'r9 r11 w14 w15 w23 w24'), ['11x18x27', '9x18x27']);
    assert.deepEqual(legal('red', 'r3 r21 w7 w15 w25'), ['21x30', '3x10x19']);
  });

  test('a jump goes on as long as the piece can jump', () => {
    assert.deepEqual(legal('red', 'r1 w6 w15 w24'), ['1x10x19x28']);
    assert.equal(after('red', 'r1 w6 w15 w24 w32', '1x10x19x28'), 'r28 w32');
    assert.throws(() => after('red', 'r1 w6 w15 w24 w32', '1x10x19'), /the jump goes on: 1x10x19x28/);
  });

  test('each branch of a jump is a move with its own path', () => {
    assert.deepEqual(legal('red', 'r2 w6 w14 w13 w7 w15'), ['2x11x18', '2x9x18']);
  });

  test('a man that jumps to the last row is crowned, and its move ends', () => {
    assert.deepEqual(legal('red', 'r21 w25 w26'), ['21x30']);
    assert.equal(after('red', 'r21 w25 w26', '21x30'), 'w26 R30');
    assert.deepEqual(legal('red', 'R21 w25 w26'), ['21x30x23'], 'a king goes on');
  });

  test('a man that steps onto the last row is crowned, on either side', () => {
    assert.equal(after('red', 'r28 w1', '28-32'), 'w1 R32');
    assert.equal(after('white', 'r32 w5', '5-1'), 'W1 r32');
  });

  test('a king can jump in a circle, and end where it began', () => {
    const circle = 'R10 w14 w15 w22 w23';
    assert.deepEqual(
      legal('red', circle).filter(one => one.endsWith('x10')),
      ['10x17x26x19x10', '10x19x26x17x10'],
    );
    assert.equal(after('red', `${circle} w32`, '10x17x26x19x10'), 'R10 w32');
  });

  test('no piece is jumped twice', () => {
    // Back at 10, the king could jump the piece on 14 again if it had not been jumped already.
    for (const { captured } of movesOf(position('red', 'R10 w14 w15 w22 w23 w6')))
      assert.deepEqual(captured, [...new Set(captured)]);
  });

  test('a piece does not jump its own side, nor two pieces in a row, nor off the board', () => {
    assert.deepEqual(legal('red', 'r11 r15 w32'), ['11-16', '15-18', '15-19']);
    assert.deepEqual(legal('red', 'r11 w15 w18'), ['11-16']);
    assert.deepEqual(legal('red', 'r8 w12 w32'), ['8-11']);
  });
});

describe('the end', () => {
  test('a player without pieces loses, and a player without moves, too', () => {
    assert.deepEqual(resultOf(newGame(position('white', 'r11'))), {
      winner: 'red',
      why: 'white has no pieces left',
    });
    assert.deepEqual(resultOf(newGame(position('red', 'r5 w9 w14'))), {
      winner: 'white',
      why: 'red has no move left',
    });
    assert.equal(resultOf(newGame()), undefined);
  });

  test('the same position with the same side to move for the third time is a draw', () => {
    const shuffle = ['1-5', '32-28', '5-1', '28-32'];
    let game = newGame(position('red', 'R1 W32'));
    for (const move of [...shuffle, ...shuffle]) {
      assert.equal(resultOf(game), undefined, move);
      game = gameAfter(game, move);
    }
    assert.deepEqual(resultOf(game), { winner: undefined, why: 'the same position for the third time' });
    assert.throws(() => gameAfter(game, '1-5'), /the game is over: the same position for the third time/);
  });

  test('the position at the start of a game with men counts, too, and an advance of a man resets the count', () => {
    const shuffle = ['1-5', '32-28', '5-1', '28-32'];
    let game = newGame(position('red', 'R1 r12 W32'));
    for (const move of [...shuffle, '12-16', '32-28', '1-5', '28-32']) game = gameAfter(game, move);
    assert.equal(game.since.length, 4);
    assert.equal(resultOf(game), undefined);
  });

  test('a capture by a king resets the count, too', () => {
    const game = gameAfter(newGame(position('red', 'R1 W6 W32')), '1x10');
    assert.equal(game.since.length, 1);
  });

  test('forty moves of each side without a capture or an advance of a man are a draw, and thirty-nine are not', () => {
    /** @param {number} length @returns {Game} */
    const quiet = length => ({
      ...newGame(position('red', 'R1 W32')),
      since: Array.from({ length }, (_, n) => `${n}`),
    });
    // The first of these positions is the one before the first quiet move.
    assert.equal(resultOf(quiet(longestQuiet)), undefined);
    assert.match(resultOf(quiet(longestQuiet + 1))?.why ?? '', /^40 moves of each side/);
    assert.equal(longestQuiet, 80);
  });
});

test('an illegal move is refused with a reason, and the game does not change', () => {
  const game = newGame();
  /** @type {[notation: string, why: RegExp][]} */
  const wrong = [
    ['21-17', /red has no piece on 21/],
    ['15-19', /red has no piece on 15/],
    ['11-14', /11-14 is not a legal move/],
    ['11x18', /11x18 is not a legal move/],
    ['', /red has no piece on NaN/],
  ];
  for (const [notation, why] of wrong) assert.throws(() => gameAfter(game, notation), why);
  assert.throws(() => gameOf(['11-15', '22-18', '8-11']), /red must jump/);
  assert.deepEqual(game, newGame());
  assert.equal(gameAfter(game, '11-15').moves.length, 1);
  assert.equal(game.moves.length, 0);
});

/**
 * A second implementation of the moves, on an 8 × 8 board: the path of each move, and the board after it.
 * @param {Position} from
 * @returns {Set<string>}
 */
function modelMoves({ board, turn }) {
  /** @type {any} */
  const grid = Array.from({ length: 8 }, () => Array(8).fill(' '));
  for (let square = 1; square <= 32; square++) {
    const { row, column } = placeOf(square);
    grid[row][column] = board[square - 1];
  }
  const own = turn === 'red' ? 'rR' : 'wW';
  const theirs = turn === 'red' ? 'wW' : 'rR';
  /** @type {Set<string>} */
  const steps = new Set();
  /** @type {Set<string>} */
  const jumps = new Set();
  /** @param {any} now @param {string} path @param {Set<string>} found */
  const add = (now, path, found) =>
    found.add(`${path} ${now.map((/** @type {string[]} */ row) => row.join('')).join('/')}`);
  /** @param {any} now @param {number} row @param {number} column @param {string} path @returns {void} */
  const look = (now, row, column, path) => {
    const piece = now[row]?.[column] ?? ' ';
    let hasJumped = false;
    for (const down of [-1, 1]) {
      if (piece === 'r' && down < 0) continue;
      if (piece === 'w' && down > 0) continue;
      for (const right of [-1, 1]) {
        const near = now[row + down]?.[column + right];
        const far = now[row + 2 * down]?.[column + 2 * right];
        const isCrowned =
          (piece === 'r' && row + down * (near === '.' ? 1 : 2) === 7) ||
          (piece === 'w' && row + down * (near === '.' ? 1 : 2) === 0);
        const landed = isCrowned ? piece.toUpperCase() : piece;
        const next = now.map((/** @type {string[]} */ one) => [...one]);
        next[row][column] = '.';
        if (near === '.' && !path.includes('x')) {
          next[row + down][column + right] = landed;
          add(next, `${path}-${squareAt(row + down, column + right)}`, steps);
        } else if (near !== undefined && theirs.includes(near) && far === '.') {
          hasJumped = true;
          next[row + down][column + right] = '.';
          next[row + 2 * down][column + 2 * right] = landed;
          const longer = `${path}x${squareAt(row + 2 * down, column + 2 * right)}`;
          if (isCrowned) add(next, longer, jumps);
          else look(next, row + 2 * down, column + 2 * right, longer);
        }
      }
    }
    if (!hasJumped && path.includes('x')) add(now, path, jumps);
  };
  for (let row = 0; row < 8; row++)
    for (let column = 0; column < 8; column++)
      if (own.includes(grid[row][column])) look(grid, row, column, `${squareAt(row, column)}`);
  return jumps.size > 0 ? jumps : steps;
}

/** @param {Position} from @returns the moves of the rules in the same form */
function rulesMoves(from) {
  return new Set(
    movesOf(from).map(move => {
      const { board } = positionAfter(from, move);
      const rows = Array.from({ length: 8 }, (_, row) =>
        Array.from({ length: 8 }, (_, column) =>
          squareAt(row, column) === 0 ? ' ' : board[squareAt(row, column) - 1],
        ).join(''),
      );
      return `${notationOf(move)} ${rows.join('/')}`;
    }),
  );
}

describe('random games', () => {
  const choices = fc.array(fc.nat(1000), { minLength: 10, maxLength: 150 });

  /** @param {readonly number[]} picks @param {(game: Game, move: Move) => void} visit @returns {Game} */
  function play(picks, visit) {
    let game = newGame();
    for (const pick of picks) {
      if (resultOf(game) !== undefined) return game;
      const moves = movesOf(game.position);
      const move = moves[pick % moves.length];
      assert.ok(move);
      visit(game, move);
      game = gameAfter(game, notationOf(move));
    }
    return game;
  }

  test('have the moves of a second implementation at each step', () => {
    fc.assert(
      fc.property(choices, picks => {
        play(picks, ({ position: now }) => assert.deepEqual(rulesMoves(now), modelMoves(now)));
      }),
      { numRuns: 60 },
    );
  });

  test('positions with kings anywhere have the moves of a second implementation, too', () => {
    const piece = fc.constantFrom('.', '.', '.', 'R', 'W', 'r', 'w');
    const boards = fc.tuple(
      fc.array(piece, { minLength: 32, maxLength: 32 }),
      fc.constantFrom('red', 'white'),
    );
    fc.assert(
      fc.property(boards, ([squares, turn]) => {
        // No man stands on the row where it would have been crowned.
        const board = squares
          .map((one, at) => ((one === 'r' && at >= 28) || (one === 'w' && at < 4) ? one.toUpperCase() : one))
          .join('');
        const from = { board, turn: /** @type {Side} */ (turn) };
        assert.deepEqual(rulesMoves(from), modelMoves(from));
      }),
      { numRuns: 1000 },
    );
  });

  test('never gain a piece, lose one for each square jumped, and can be repeated from their notation', () => {
    const men = (/** @type {Game} */ { position: { board } }) => board.replaceAll('.', '').length;
    fc.assert(
      fc.property(choices, picks => {
        const game = play(picks, (before, move) => {
          const next = gameAfter(before, notationOf(move));
          assert.equal(men(next), men(before) - move.captured.length);
          assert.equal(before.position.turn === 'red' ? 'white' : 'red', next.position.turn);
        });
        assert.deepEqual(gameOf(game.moves), game);
      }),
      { numRuns: 60 },
    );
  });
});
