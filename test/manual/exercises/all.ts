/** The exercises by the numbers of their chapters. */
import { exercise as exercise1 } from './1/exercise.ts';
import type { Exercise } from './exercise.ts';

export const exercises: ReadonlyMap<number, Exercise> = new Map([[1, exercise1]]);
