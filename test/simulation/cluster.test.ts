/**
 * Whole clusters under faults. Default: 200 seeds, cut into slices that vitest spreads over its processes (`cluster-*.test.ts`).
 * `SEEDS=2000 npx vitest run --project simulation` goes deeper, `SEED=17` replays one with its trace on standard output.
 */
import { describe, expect, it } from 'vitest'
import { runCluster } from '../../platform/simulation/runs/run.ts'
import { sliceOfSeeds } from './seeds.ts'

describe('a simulated cluster under partitions, loss, crashes and freezes', () => {
  for (const seed of sliceOfSeeds(0)) {
    it(`seed ${seed}: no invariant broken, every history linearizable`, () => {
      const run = runCluster(seed)
      expect(run.violations, `replay with: SEED=${seed} npx vitest run --project simulation`).toEqual([])
      expect(run.operations).toBeGreaterThan(20)
    })
  }

  it('repeats exactly from its seed', () => {
    expect(runCluster(7).hash).toBe(runCluster(7).hash)
    expect(runCluster(8).hash).not.toBe(runCluster(7).hash)
  })
})
