/**
 * Whole clusters under faults. Default: 200 seeds, in two halves that vitest spreads over its processes (`cluster-second.test.ts` has the other one).
 * `SEEDS=2000 npx vitest run --project simulation` goes deeper, `SEED=17` replays one with its trace on standard output.
 */
import { expect, it } from 'vitest'
import { runCluster } from '../../platform/simulation/runs/run.ts'
import { runClusters } from './cluster-seeds.ts'

runClusters(0)

it('a simulated cluster repeats exactly from its seed', () => {
  expect(runCluster(7).hash).toBe(runCluster(7).hash)
  expect(runCluster(8).hash).not.toBe(runCluster(7).hash)
})
