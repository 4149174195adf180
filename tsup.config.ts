/**
 * What `npm pack` ships, in three builds, the first two with their declarations in one file each:
 *
 *   dist/node/index.js, cli.js       Node. Packages stay imports: npm installs them.
 *   dist/browser/index.js            The page's part, and by dynamic import what it may need. Self-contained: packages are inside, so that it
 *                                    works from any server, under any bundler and in an import map.
 *   dist/browser/worker.js           `harmonydb/worker`: one module with everything in it, for the same reason.
 *
 * `worker: 'auto'` starts a worker from a string, and so do Node's threads beside a database: the modules that do it in development are replaced here by ones that
 * hold the bundles (see their headers).
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { build, type Plugin } from 'esbuild'
import { defineConfig, type Options } from 'tsup'

const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }
const browserTarget = 'es2022'
const nodeTarget = 'node20.19'

const inlinedWorker: Plugin = {
  name: 'inlined-worker',
  setup({ onLoad }) {
    onLoad({ filter: /platform[\\/]browser[\\/]page[\\/]inlined-worker\.ts$/ }, async () => {
      const { outputFiles, metafile } = await build({
        entryPoints: ['platform/browser/worker/entry.ts'],
        bundle: true,
        write: false,
        minify: true,
        format: 'iife',
        platform: 'browser',
        target: browserTarget,
        legalComments: 'inline',
        metafile: true,
      })
      const contents = [
        `const source = ${JSON.stringify(outputFiles[0]?.text)}`,
        'export function startInlinedWorker() {',
        "  const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }))",
        "  const worker = new Worker(url, { name: 'harmonydb' })",
        "  worker.addEventListener('message', () => URL.revokeObjectURL(url), { once: true })",
        '  return worker',
        '}',
      ].join('\n')
      return { contents, loader: 'js', watchFiles: Object.keys(metafile.inputs) }
    })
  },
}

const poolThreadSource: Plugin = {
  name: 'pool-thread-source',
  setup({ onLoad }) {
    onLoad({ filter: /platform[\\/]node[\\/]pool-thread-source\.ts$/ }, async () => {
      const { outputFiles, metafile } = await build({
        entryPoints: ['platform/node/pool-thread.ts'],
        bundle: true,
        write: false,
        minify: true,
        format: 'cjs',
        platform: 'node',
        target: nodeTarget,
        metafile: true,
      })
      const contents = `export const poolThreadSource = async () => ${JSON.stringify(outputFiles[0]?.text)}`
      return { contents, loader: 'js', watchFiles: Object.keys(metafile.inputs) }
    })
  },
}

/** The reference is for projects whose `lib` lacks AsyncDisposable. */
const declarations = {
  banner: '/// <reference lib="esnext.disposable" />',
  compilerOptions: { composite: false, incremental: false, emitDeclarationOnly: true, rootDir: '.' },
}

const everywhere: Options = {
  format: 'esm',
  sourcemap: true,
  treeshake: false,
  silent: true,
  esbuildOptions: options => {
    options.legalComments = 'inline'
  },
}

for (const folder of ['node', 'browser', 'simulation']) rmSync(`dist/${folder}`, { recursive: true, force: true })

export default defineConfig([
  {
    ...everywhere,
    entry: { index: 'platform/node/entry.ts', cli: 'platform/node/cli/main.ts' },
    outDir: 'dist/node',
    tsconfig: 'platform/node/tsconfig.json',
    platform: 'node',
    target: nodeTarget,
    esbuildPlugins: [poolThreadSource],
    skipNodeModulesBundle: true,
    define: { 'process.env.HARMONYDB_VERSION': JSON.stringify(manifest.version) },
    dts: { ...declarations, entry: { index: 'platform/node/entry.ts' } },
  },
  {
    ...everywhere,
    entry: { index: 'platform/simulation/entry.ts' },
    outDir: 'dist/simulation',
    tsconfig: 'platform/simulation/tsconfig.json',
    platform: 'neutral',
    target: nodeTarget,
    skipNodeModulesBundle: true,
    dts: { ...declarations, entry: { index: 'platform/simulation/entry.ts' } },
  },
  {
    ...everywhere,
    entry: { index: 'platform/browser/page/entry.ts' },
    outDir: 'dist/browser',
    tsconfig: 'platform/browser/page/tsconfig.json',
    platform: 'browser',
    target: browserTarget,
    noExternal: [/.*/],
    splitting: true,
    esbuildPlugins: [inlinedWorker],
    dts: { ...declarations, entry: { index: 'platform/browser/page/entry.ts' } },
  },
  {
    ...everywhere,
    entry: { worker: 'platform/browser/worker/entry.ts' },
    outDir: 'dist/browser',
    tsconfig: 'platform/browser/worker/tsconfig.json',
    platform: 'browser',
    target: browserTarget,
    noExternal: [/.*/],
    splitting: false,
    // It imports and exports nothing: this says that it is a module all the same, whatever the packages inside look like.
    footer: { js: 'export {}' },
    onSuccess: async () => writeFileSync('dist/browser/worker.d.ts', 'export {}\n'),
  },
])
