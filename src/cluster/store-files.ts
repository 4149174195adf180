/**
 * Which files of a directory are the store: `pages` and `log`. A member of a cluster whose store was damaged begins anew beside it, in `pages-2` and `log-2`, and so on; the
 * damaged pair stays as it was found, for people and their tools, until the next one is damaged too.
 */

export interface StorePair {
  readonly generation: number
  readonly pages: string
  readonly log: string
}

const form = /^(pages|log)(?:-([1-9]\d{0,8}))?$/

/** What a file of this name is to a store, of whatever generation. */
export function storeFileKind(name: string): 'pages' | 'log' | undefined {
  return form.exec(name)?.[1] as 'pages' | 'log' | undefined
}

export function pairOf(generation: number): StorePair {
  return generation === 1
    ? { generation, pages: 'pages', log: 'log' }
    : { generation, pages: `pages-${generation}`, log: `log-${generation}` }
}

/** The newest first; at least the first generation, which is made if it is not there. */
export function pairsIn(names: readonly string[]): readonly [StorePair, ...StorePair[]] {
  const generations = new Set<number>()
  for (const name of names) {
    const found = form.exec(name)
    if (found?.[1] === 'pages') generations.add(Number(found[2] ?? 1))
  }
  const [newest = 1, ...older] = [...generations].sort((a, b) => b - a)
  return [pairOf(newest), ...older.map(pairOf)]
}

/** Files of generations that `kept` says are of no use any more. */
export function namesOutside(names: readonly string[], kept: (generation: number) => boolean): readonly string[] {
  return names.filter(name => {
    const found = form.exec(name)
    return found !== null && !kept(Number(found[2] ?? 1))
  })
}
