#!/usr/bin/env node
/** The command `harmonydb`: runs one command, and ends the process with a status that means something. */
import { fileURLToPath } from 'node:url'
import { exitStatus } from './exit-status.ts'
import { processOutput } from './output.ts'
import { runCommandLine } from './run.ts'

/** How long an orderly end may take. */
const endMsMax = 10_000

const output = processOutput()

let stopping: Promise<string> | undefined

/** From the first call on, a signal asks for an orderly end. Commands that never call it end at a signal like any other program. */
function untilStopped(): Promise<string> {
  stopping ??= new Promise<string>(resolve => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        if (stoppedBy !== undefined) process.exit(exitStatus.failed)
        stoppedBy = signal
        setTimeout(() => {
          output.note(`harmonydb: it did not end in order within ${endMsMax / 1000} s; ending it`)
          process.exit(exitStatus.failed)
        }, endMsMax).unref()
        resolve(signal)
      })
    }
  })
  return stopping
}

let stoppedBy: string | undefined

const version = process.env.HARMONYDB_VERSION ?? 'development'
// Native threads may keep the process alive after its work is done.
const script = fileURLToPath(import.meta.url)
runCommandLine(process.argv.slice(2), { output, version, untilStopped, script }).then(status => process.exit(status))
