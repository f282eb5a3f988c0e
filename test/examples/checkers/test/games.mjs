/** Games for the tests. */
import { gameAfter, movesOf, newGame, notationOf } from '../public/rules.mjs';

/** Red wins: with jumps of several pieces, and with kings. */
export const shortGame =
  '11-16 22-17 10-15 23-18 15x22 25x18 16-20 26-22 9-14 18x9 6x13 22-18 13x22 31-26 22x31 29-25 8-11 24-19 31x24x15x22x29 28-24 20x27 32x23 11-16 21-17 16-19 23x16 12x19 30-25 29x22x13'.split(
    ' ',
  );

/** A game of random moves, always the same one. @param {number} length @returns {readonly string[]} */
export function randomMoves(length) {
  let seed = 1;
  let game = newGame();
  while (game.moves.length < length) {
    const moves = movesOf(game.position);
    seed = (seed * 48271) % 2147483647;
    const move = moves[seed % moves.length];
    game = move === undefined ? newGame() : gameAfter(game, notationOf(move));
  }
  return game.moves;
}
