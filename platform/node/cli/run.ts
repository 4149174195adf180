/** One run of the command line: arguments in, an exit status out. What it says goes to `output`, nothing else does. */
import { CommanderError } from 'commander'
import { exitStatus, failureOf } from './exit-status.ts'
import { type Output, ReaderGone } from './output.ts'
import { createProgram } from './program.ts'

export interface RunOptions {
  readonly output: Output
  readonly version: string
  /** Resolves with a word for people when the process is to end (a signal). Called by commands that end in order. */
  readonly untilStopped: () => Promise<string>
  /** The file of the command, for commands that share their work among processes; without it they do all of it themselves. */
  readonly script?: string
}

/** @param args Without the names of the program and of its interpreter. Never rejects. */
export async function runCommandLine(args: readonly string[], options: RunOptions): Promise<number> {
  const { output, version, untilStopped, script } = options
  const said: Promise<void>[] = []
  const program = createProgram(
    output,
    { writeOut: text => said.push(output.raw(text)), writeErr: text => output.note(text.trimEnd()) },
    version,
    untilStopped,
    script,
  )
  try {
    await program.parseAsync(args, { from: 'user' })
    return exitStatus.done
  } catch (error) {
    if (error instanceof ReaderGone) return exitStatus.done
    // Commander has said what it had to say.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitStatus.done : exitStatus.usage
    const { status, text } = failureOf(error)
    if (text !== '') output.note(`harmonydb: ${text}`)
    return status
  } finally {
    await Promise.allSettled(said)
  }
}
