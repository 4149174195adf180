#!/usr/bin/env node
/** The command `harmonydb`: reads the arguments, runs the command, and ends the process with a status that means something. */
import { CommanderError } from 'commander'
import { exitStatus, failureOf } from './exit-status.ts'
import { processOutput, ReaderGone } from './output.ts'
import { createProgram } from './program.ts'

/** How long an orderly end may take. */
const endMsMax = 10_000

const output = processOutput()

let stopping: Promise<string> | undefined

/** From the first call on, a signal asks for an orderly end. Commands that never call it end at a signal like any other program. */
function untilStopped(): Promise<string> {
  stopping ??= new Promise<string>(resolve => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.once(signal, () => {
        process.on(signal, () => process.exit(exitStatus.failed))
        setTimeout(() => {
          output.note('it does not end in order; ending it')
          process.exit(exitStatus.failed)
        }, endMsMax).unref()
        resolve(signal)
      })
    }
  })
  return stopping
}

async function run(): Promise<number> {
  const program = createProgram(output, process.env.HARMONYDB_VERSION ?? 'development', untilStopped)
  try {
    await program.parseAsync()
    return exitStatus.done
  } catch (error) {
    if (error instanceof ReaderGone) return exitStatus.done
    // Commander has said what it had to say.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitStatus.done : exitStatus.usage
    const { status, text } = failureOf(error)
    if (text !== '') output.note(`harmonydb: ${text}`)
    return status
  }
}

// Native threads may keep the process alive after its work is done.
run().then(status => process.exit(status))
