/** `harmonydb verify`: reads everything that a directory holds and says what is wrong with it. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type Finding, type StoreReport, verifyStore } from '../../../src/index.ts'
import type { Directory } from '../../../src/platform.ts'
import { openDirectory } from '../storage/directory.ts'
import { CommandExit, exitStatus, statusOfCode, usage } from './exit-status.ts'
import type { Output } from './output.ts'

/** @throws CommandExit with the status of the first damage; HarmonyError LOCKED, CORRUPT… where the directory cannot be opened. */
export async function verify(path: string, json: boolean, output: Output): Promise<void> {
  // Opening would make a new one.
  if (!existsSync(join(path, 'harmonydb'))) throw usage(`there is no database in ${path}`)
  const directory = await opened(path)
  const report = await checked(directory, output)
  await new Promise<void>(resolve => directory.close(() => resolve()))
  if (json) await output.line(JSON.stringify(report))
  else for (const line of linesOf(path, report)) await output.line(line)
  const damage = report.findings.find(({ severity }) => severity === 'damage')
  if (damage === undefined) return
  throw new CommandExit(damage.code === undefined ? exitStatus.corrupt : statusOfCode(damage.code), '')
}

function opened(path: string): Promise<Directory> {
  return new Promise((resolve, reject) => {
    openDirectory(path, result => (result.ok ? resolve(result.value) : reject(result.error)))
  })
}

function checked(directory: Directory, output: Output): Promise<StoreReport> {
  return new Promise(resolve => {
    verifyStore(
      directory,
      (step, done, total) => {
        const percent = total === 0 ? 100 : Math.floor((done / total) * 100)
        output.note(`${step === 1 ? 'reading the log' : 'applying it'}: ${percent} %`)
      },
      resolve,
    )
  })
}

function linesOf(path: string, report: StoreReport): string[] {
  const { peer, cluster, checkpoint, log, state, findings } = report
  const lines = [
    `directory  ${path}`,
    `peer       ${peer ?? 'unknown'}`,
    `cluster    ${cluster ?? 'unknown'}`,
    checkpoint === undefined
      ? 'pages      no checkpoint yet: everything is in the log'
      : `pages      ${checkpoint.pages} in ${checkpoint.fileBytes} bytes, checkpoint ${checkpoint.number} with ${checkpoint.keys} keys through entry ${checkpoint.applied}`,
    `log        ${log.bytes} bytes, ${log.records} records, entries ${log.firstIndex} to ${log.lastIndex}, committed through ${log.commit}`,
    `state      ${state.keys} keys, ${state.bytes} bytes, fingerprint ${state.fingerprint.toString(16).padStart(8, '0')}`,
    ...(state.prepared === 0 ? [] : [`prepared   ${state.prepared}, not decided (\`harmonydb prepared\` lists them)`]),
    ...findings.map(lineOf),
  ]
  const damages = findings.filter(({ severity }) => severity === 'damage').length
  lines.push(damages === 0 ? 'whole' : `DAMAGED: ${damages} ${damages === 1 ? 'finding' : 'findings'}`)
  return lines
}

const lineOf = ({ severity, code, message }: Finding): string =>
  `${severity.padEnd(10)} ${code === undefined ? '' : `${code}: `}${message}`
