/** The other half of the seeds of `cluster.test.ts`. */
import { runClusters } from './cluster-seeds.ts'

runClusters(1)
