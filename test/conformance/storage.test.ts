import { directoryRules } from './directory-suite.ts'
import { describeRules } from './in-vitest.ts'
import { logFileRules } from './log-file-suite.ts'
import { memoryStorage } from './memory-harness.ts'
import { nodeStorage, nodeStorageThatCrashes } from './node-harness.ts'
import { pageFileRules } from './page-file-suite.ts'
import { simulatedStorage } from './simulation-harness.ts'

const rules = [...logFileRules, ...pageFileRules, ...directoryRules]

describeRules('storage in memory', rules, memoryStorage)
describeRules('storage of the simulation, synchronous reads', rules, () => simulatedStorage(1, 'synchronous'))
describeRules('storage of the simulation, asynchronous reads', rules, () => simulatedStorage(2, 'asynchronous'))
describeRules('storage on the file system', rules, nodeStorage)
describeRules('storage on the file system with a cache that is lost', rules, () => nodeStorageThatCrashes(3), 60_000)
