/** Kinds of values for the parameters of faults. Each kind has a bound, because clients choose the values. */
import { count, duration, type Kind, maxDuration, size } from '../../options/values.ts';

export function wholeNumber(least: number, most: number): Kind<number> {
  return {
    placeholder: 'N',
    expected: `a whole number from ${least} to ${most}`,
    parse(raw) {
      const number = count.parse(raw);
      return number !== undefined && number >= least && number <= most ? number : undefined;
    },
    show: String,
  };
}

/** Bytes; a KB is 1024 bytes. */
export function sizeUpTo(most: number): Kind<number> {
  return {
    placeholder: 'SIZE',
    expected: `a size from 1B to ${size.show(most)}`,
    parse(raw) {
      const bytes = size.parse(raw);
      return bytes !== undefined && bytes <= most ? bytes : undefined;
    },
    show: size.show,
  };
}

/** A varying time such as `200ms±50ms`, in milliseconds. */
export interface Spread {
  readonly around: number;
  /** At most `around`. */
  readonly by: number;
}

export const spread: Kind<Spread> = {
  placeholder: 'TIME',
  expected: 'a time such as 200ms, or 200ms±50ms (also written 200ms~50ms)',
  parse(raw) {
    const [first, second = '0', ...more] = typeof raw === 'string' ? raw.split(/[±~]/) : [raw];
    const around = duration.parse(first);
    const by = duration.parse(second);
    if (around === undefined || by === undefined || by > around || more.length > 0) return undefined;
    // Node's timers fire at once if the time is longer.
    return around + by > maxDuration ? undefined : { around, by };
  },
  show: ({ around, by }) => duration.show(around) + (by === 0 ? '' : `±${duration.show(by)}`),
};
