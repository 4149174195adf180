/**
 * `npm run bench`. Plain JavaScript: it installs what is missing, builds what is missing, bundles the benchmarks (Node 20 runs no
 * TypeScript) and runs them.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { installPackages } from '../install-packages.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const args = process.argv.slice(2)

const isForHelp = args.includes('--help') || args.includes('-h')
if (!existsSync(join(root, 'node_modules/esbuild'))) installPackages()
const isBuilt = ['node', 'browser'].every(name => existsSync(join(root, 'dist', name, 'index.js')))
if (!isBuilt && !args.includes('--module') && !isForHelp) {
  console.error('building HarmonyDB (tsup)')
  const tsup = join(root, 'node_modules/tsup/dist/cli-default.js')
  const { status } = spawnSync(process.execPath, [tsup], { cwd: root, stdio: ['ignore', 2, 2] })
  if (status !== 0) process.exit(1)
}

// Below node_modules, so that packages are found and no RAM disk is under it.
const scratchDir = join(root, 'node_modules/.cache', `harmonydb-bench-${process.pid}`)
mkdirSync(scratchDir, { recursive: true })
let status = 1
try {
  const { build } = await import('esbuild')
  await build({
    entryPoints: ['main.ts', 'child.ts', 'threads-worker.ts', 'replication-child.ts'].map(name =>
      fileURLToPath(new URL(name, import.meta.url)),
    ),
    outdir: scratchDir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    logLevel: 'warning',
  })
  const { main } = await import(pathToFileURL(join(scratchDir, 'main.mjs')).href)
  status = await main({ root, childScript: join(scratchDir, 'child.mjs'), scratchDir }, args)
} finally {
  rmSync(scratchDir, { recursive: true, force: true })
}
process.exitCode = status
