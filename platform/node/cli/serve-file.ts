/**
 * `.serve.json` in a peer's directory (which refuses foreign names without the dot): where the running `serve` can be reached, and with which token. Readable by its owner only.
 *
 * Format: {"pid": number, "url": "ws://…/control", "token": 64 hex digits}. Written whole under another name, then renamed. A process that
 * was killed leaves it behind: whoever finds it must expect nobody, or somebody else, at that address.
 */
import { randomBytes } from 'node:crypto'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ControlAddress } from './control-client.ts'

const fileName = '.serve.json'
const fileBytesMax = 4096

export interface ServeFile extends ControlAddress {
  readonly pid: number
}

export const newToken = (): string => randomBytes(32).toString('hex')

export async function writeServeFile(dir: string, content: ServeFile): Promise<void> {
  const temporary = join(dir, `${fileName}.${process.pid}`)
  await writeFile(temporary, `${JSON.stringify(content)}\n`, { mode: 0o600 })
  await rename(temporary, join(dir, fileName))
}

/** Undefined where there is none, or what is there is none. */
export async function readServeFile(dir: string): Promise<ServeFile | undefined> {
  try {
    return decodeServeFile(await readFile(join(dir, fileName), 'utf8'))
  } catch {
    return undefined
  }
}

export function decodeServeFile(text: string): ServeFile | undefined {
  if (text.length > fileBytesMax) return undefined
  try {
    const { pid, url, token } = JSON.parse(text) as Record<string, unknown>
    if (!Number.isSafeInteger(pid) || typeof url !== 'string' || typeof token !== 'string') return undefined
    // The token goes into a header, the address is one of this machine.
    if (!/^[0-9a-f]{64}$/.test(token) || !/^ws:\/\/[^\s/]+\/control$/.test(url)) return undefined
    return { pid: pid as number, url, token }
  } catch {
    return undefined
  }
}

/** Only if it is still ours. */
export async function removeServeFile(dir: string, token: string): Promise<void> {
  if ((await readServeFile(dir))?.token === token) await rm(join(dir, fileName), { force: true })
}
