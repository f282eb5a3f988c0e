/** The exercises by the numbers of their chapters. */
import { exercise as exercise1 } from './1/exercise.ts';
import { exercise as exercise2 } from './2/exercise.ts';
import { exercise as exercise3 } from './3/exercise.ts';
import { exercise as exercise4 } from './4/exercise.ts';
import { exercise as exercise5 } from './5/exercise.ts';
import { exercise as exercise6 } from './6/exercise.ts';
import { exercise as exercise7 } from './7/exercise.ts';
import { exercise as exercise8 } from './8/exercise.ts';
import type { Exercise } from './exercise.ts';

export const exercises: ReadonlyMap<number, Exercise> = new Map([
  [1, exercise1],
  [2, exercise2],
  [3, exercise3],
  [4, exercise4],
  [5, exercise5],
  [6, exercise6],
  [7, exercise7],
  [8, exercise8],
]);
