/**
 * Where Chromium is on this machine, and how to get it where it is not. Plain JavaScript without packages: the test runner asks before
 * anything is installed.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
const folders = ['/usr/bin', '/usr/local/bin', '/snap/bin', ...(process.env.PATH ?? '').split(delimiter)]
const elsewhere = [
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
]

export const chromiumAdvice = `Chromium was not found. Do one of these:
  - set CHROMIUM_PATH to a Chromium or Chrome (114 or newer);
  - install it: apt-get install chromium (Debian), dnf install chromium (Fedora), brew install --cask chromium (macOS);
  - run this as root on a system with apt-get: then it is installed.`

/**
 * @returns {string | undefined} The path of an executable.
 * @throws {Error} CHROMIUM_PATH names something that is none: silence would test another browser than the one asked for.
 */
export function findChromium() {
  const asked = process.env.CHROMIUM_PATH
  if (asked !== undefined && asked !== '') {
    if (isExecutable(asked)) return asked
    throw new Error(`CHROMIUM_PATH is ${asked}, which is no executable file`)
  }
  const places = names.flatMap(name => folders.filter(folder => folder !== '').map(folder => join(folder, name)))
  return [...places, ...elsewhere].find(isExecutable)
}

/** Installs Chromium where that is possible without asking: as root with apt-get. @returns {string | undefined} */
export function installChromium() {
  if (process.getuid?.() !== 0 || spawnSync('apt-get', ['--version'], { stdio: 'ignore' }).status !== 0)
    return undefined
  const options = { stdio: 'inherit', env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } }
  spawnSync('apt-get', ['update'], options)
  const { status } = spawnSync('apt-get', ['install', '-y', '--no-install-recommends', 'chromium'], options)
  return status === 0 ? findChromium() : undefined
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
