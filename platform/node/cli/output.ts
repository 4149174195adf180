/** What a command says: results to standard output, everything else to standard error; both end with their last byte written. */

export interface Output {
  /** One line of results. Resolves when the reader has taken it, so that a slow reader slows the command down. */
  line(text: string): Promise<void>
  raw(bytes: Uint8Array | string): Promise<void>
  /** For people: progress, notes. */
  note(text: string): void
}

/** Thrown where the reader has gone (`| head`): the command stops, and that is no failure. */
export class ReaderGone extends Error {
  override readonly name = 'ReaderGone'
}

export function processOutput(): Output {
  // A broken pipe is told to the write's callback; without a listener the event would end the process.
  process.stdout.on('error', () => {})
  process.stderr.on('error', () => {})
  const raw = (content: Uint8Array | string): Promise<void> =>
    new Promise((resolve, reject) => {
      process.stdout.write(content, error => (error ? reject(new ReaderGone()) : resolve()))
    })
  return {
    raw,
    line: text => raw(`${text}\n`),
    note: text => void process.stderr.write(`${text}\n`),
  }
}
