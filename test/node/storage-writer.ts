/** A process of its own: appends and syncs for ever, says after each sync how far it got, and is killed at any moment. */
import { openDirectory } from '../../platform/node/storage/directory.ts'
import type { LogFile } from '../../src/platform.ts'
import { pattern } from '../conformance/storage-harness.ts'

const path = process.argv[2]!

function writeForEver(log: LogFile, round: number): void {
  for (let i = 0; i < 10; i++) log.append(pattern(round * 10 + i, 500))
  log.sync(error => {
    if (error !== undefined) throw error
    // To a pipe or file: on the way when it returns.
    process.stdout.write(`${round}\n`)
    setImmediate(writeForEver, log, round + 1)
  })
}

openDirectory(path, directory => {
  if (!directory.ok) throw directory.error
  directory.value.openLog('log', log => {
    if (!log.ok) throw log.error
    writeForEver(log.value, 0)
  })
})
