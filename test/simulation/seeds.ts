/** Which seeds this run takes, and how two test files share them. */

const seed = process.env.SEED === undefined ? undefined : Number(process.env.SEED)
const count = Number(process.env.SEEDS ?? (process.env.DEEP === '1' ? 2000 : 200))

export function sliceOfSeeds(slice: 0 | 1): readonly number[] {
  if (seed !== undefined) return slice === 0 ? [seed] : []
  return Array.from({ length: count }, (_, at) => at + 1).filter(one => one % 2 === slice)
}

/** For what takes long: one in `each` of them. */
export function fewerSeeds(each: number): readonly number[] {
  if (seed !== undefined) return [seed]
  return Array.from({ length: Math.max(1, Math.round(count / each)) }, (_, at) => at + 1)
}

/** For a search: where something was found last is looked first. */
export function likelyFirst(likely: number, seedsMax: number): readonly number[] {
  return [likely, ...Array.from({ length: seedsMax }, (_, at) => at + 1).filter(seed => seed !== likely)]
}

/** The first seed whose run breaks a promise, or stops: what gave it away, or undefined where none of the first `seedsMax` does. */
export async function firstBroken(
  seedsMax: number,
  run: (seed: number) => Promise<readonly string[]> | readonly string[],
): Promise<{ readonly what: string | undefined; readonly seed: number }> {
  let what: string | undefined
  let seed = 0
  while (what === undefined && seed < seedsMax) {
    seed++
    try {
      ;[what] = await run(seed)
    } catch (error) {
      what = `stopped: ${String(error)}`
    }
  }
  return { what, seed }
}
