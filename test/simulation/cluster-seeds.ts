/** The seeds of `cluster.test.ts` and `cluster-second.test.ts`, one half each, so that two cores share them. */
import { describe, expect, it } from 'vitest'
import { states } from '../../platform/simulation/runs/observer.ts'
import { runCluster } from '../../platform/simulation/runs/run.ts'
import { sliceOfSeeds } from './seeds.ts'

/** So many of them are not quiet. */
const enough = 100

export function runClusters(slice: 0 | 1): void {
  describe('a simulated cluster under partitions, loss, crashes and freezes', () => {
    const seeds = sliceOfSeeds(slice)
    const missing = new Set<string>(states)
    let runs = 0
    if (seeds.length === 0) it.skip('the one seed asked for is in the other half')
    for (const seed of seeds) {
      it(`seed ${seed}: no invariant broken, every history linearizable`, () => {
        const run = runCluster(seed)
        for (const state of states) if (run.coverage[state] > 0) missing.delete(state)
        runs++
        expect(run.violations, `replay with: SEED=${seed} npx vitest run --project simulation`).toEqual([])
        expect(run.operations).toBeGreaterThan(20)
      })
    }

    it.runIf(seeds.length >= enough)('these seeds reach every state that seldom happens', ({ skip }) => {
      // Some of them were left out with `-t`.
      if (runs < enough) skip()
      expect([...missing]).toEqual([])
    })
  })
}
