/**
 * The other half of the seeds of `cluster.test.ts`, so that two cores share them.
 */
import { describe, expect, it } from 'vitest'
import { runCluster } from './cluster-run.ts'
import { sliceOfSeeds } from './seeds.ts'

describe('a simulated cluster under partitions, loss, crashes and freezes', () => {
  for (const seed of sliceOfSeeds(1)) {
    it(`seed ${seed}: no invariant broken, every history linearizable`, () => {
      const run = runCluster(seed)
      expect(run.violations, `replay with: SEED=${seed} npx vitest run --project simulation`).toEqual([])
      expect(run.operations).toBeGreaterThan(20)
    })
  }
})
