/** Makes `node_modules` what the lock file says, if it is not; for `npm test` and `npm start`, which begin with nothing. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const nodeMin = [20, 19]

/** Ends the process where that fails: npm has said why. */
export function installPackages() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major < nodeMin[0] || (major === nodeMin[0] && minor < nodeMin[1])) {
    console.error(`HarmonyDB needs Node ${nodeMin.join('.')} or newer; this is ${process.version}`)
    process.exit(1)
  }
  if (isCurrent()) return
  console.log('installing packages (npm ci)')
  const { status, error } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  })
  if (status === 0) return
  console.error(error === undefined ? 'npm ci failed' : `npm cannot be started: ${error.message}`)
  process.exit(1)
}

/** npm leaves a lock file of what it installed: compared by what matters, version by version. */
function isCurrent() {
  const installedPath = `${root}node_modules/.package-lock.json`
  if (!existsSync(installedPath)) return false
  try {
    const wanted = versionsOf(readFileSync(`${root}package-lock.json`, 'utf8'))
    const installed = versionsOf(readFileSync(installedPath, 'utf8'))
    for (const [path, { version, optional }] of wanted) {
      const found = installed.get(path)
      // Optional packages of other platforms are not installed.
      if (found === undefined ? !optional : found.version !== version) return false
    }
    return true
  } catch {
    return false
  }
}

function versionsOf(lock) {
  const { packages } = JSON.parse(lock)
  const versions = new Map()
  for (const [path, { version, optional, devOptional, peer }] of Object.entries(packages)) {
    if (path !== '')
      versions.set(path, { version, optional: optional === true || devOptional === true || peer === true })
  }
  return versions
}
