/**
 * What `npm pack` ships, used as strangers use it: installed from the tarball into an empty project, in Node, by the compiler, and in a
 * Vite app in a real Chromium. `npm run build` comes first.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium } from 'playwright-core'
import { publint } from 'publint'
import { build, preview } from 'vite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chromiumAdvice, findChromium } from '../browser/find-chromium.mjs'
import { manifest, nodeProgram, pages, simulatedProgram, typedProgram, withoutNativePackages } from './consumer.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'harmonydb-package-')))
const project = join(folder, 'project')
const installed = join(project, 'node_modules', 'harmonydb')

interface Packed {
  readonly filename: string
  readonly files: readonly { readonly path: string }[]
}
let packed: Packed

function npm(args: readonly string[], cwd: string): string {
  return execFileSync('npm', [...args], { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** An empty project of this name with the tarball in it. */
function install(at: string, ...options: readonly string[]): void {
  mkdirSync(at, { recursive: true })
  writeFileSync(join(at, 'package.json'), manifest)
  npm(['install', '--no-audit', '--no-fund', ...options, join(folder, packed.filename)], at)
}

beforeAll(() => {
  for (const path of [
    'dist/node/index.js',
    'dist/node/index.d.ts',
    'dist/browser/index.js',
    'dist/browser/worker.js',
  ]) {
    if (!existsSync(join(root, path))) throw new Error(`${path} is missing: npm run build first`)
  }
  // What is packed is what was built and is tested beside this: the scripts would build it again.
  const out = npm(['pack', '--json', '--ignore-scripts', '--pack-destination', folder], root)
  packed = (JSON.parse(out) as Packed[])[0] as Packed
  install(project)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('the tarball', () => {
  it('holds what is needed and nothing else', () => {
    const paths = packed.files.map(({ path }) => path)
    for (const path of ['LICENSE', 'README.md', 'CHANGELOG.md', 'dist/node/cli.js', 'dist/browser/worker.d.ts'])
      expect(paths).toContain(path)
    const others = paths.filter(
      path => !/^(dist\/(node|browser|simulation)\/[\w.-]+|[A-Z]+(\.md)?|package\.json)$/.test(path),
    )
    expect(others).toEqual([])
  })

  it('names no path of the machine that built it', () => {
    for (const { path } of packed.files) expect(readFileSync(join(installed, path), 'utf8')).not.toContain(root)
  })

  it('satisfies publint', async () => {
    const { messages } = await publint({ pkgDir: installed, level: 'suggestion', strict: true, pack: false })
    expect(messages).toEqual([])
  })

  it('exports to browsers what it exports to Node, signalling aside, and declares exactly that', async () => {
    const names = async (platform: string): Promise<string[]> => {
      const exported = Object.keys((await import(join(installed, `dist/${platform}/index.js`))) as object).sort()
      const declarations = readFileSync(join(installed, `dist/${platform}/index.d.ts`), 'utf8')
      const [, list = ''] = /^export \{ ([^}]*) \};?$/m.exec(declarations) ?? []
      const declared = list.split(', ').filter(name => !name.startsWith('type '))
      expect(declared.sort()).toEqual(exported)
      return exported
    }
    const onlyInNode = ['startSignalingServer']
    expect((await names('node')).filter(name => !onlyInNode.includes(name))).toEqual(await names('browser'))
  })

  it('brings its own packages into the browser: nothing is left to import', () => {
    for (const name of readdirSync(join(installed, 'dist/browser')).filter(path => path.endsWith('.js'))) {
      const text = readFileSync(join(installed, 'dist/browser', name), 'utf8')
      const foreign = [...text.matchAll(/^\s*(?:import|export)\b[^'"\n]*?from\s*["']([^"']+)["']/gm)]
        .map(match => match[1] ?? '')
        .filter(specifier => !specifier.startsWith('./'))
      expect(foreign, name).toEqual([])
    }
  })
})

describe('in Node', () => {
  const run = (at: string, program: string) => {
    writeFileSync(join(at, 'program.mjs'), program)
    const { status, stdout, stderr } = spawnSync(process.execPath, ['program.mjs'], {
      cwd: at,
      encoding: 'utf8',
      timeout: 60_000,
    })
    if (status !== 0) throw new Error(`status ${status}: ${stderr}`)
    return JSON.parse(stdout) as unknown
  }

  it('opens, writes, reads, closes, and finds it again', () => {
    expect(run(project, nodeProgram)).toEqual({
      count: 3,
      at: 0,
      tag: true,
      keys: [
        ['stock', 'desk'],
        ['stock', 'lamp'],
      ],
      desk: '1',
    })
    expect(existsSync(join(project, 'shop.harmony'))).toBe(true)
  })

  it('simulates a cluster', () => {
    expect(run(project, simulatedProgram)).toEqual({ refused: 'NO_QUORUM', value: 2, again: true })
  })

  it('has the command harmonydb', () => {
    const command = join(project, 'node_modules', '.bin', 'harmonydb')
    const { version } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as { version: string }
    expect(execFileSync(command, ['--version'], { encoding: 'utf8' }).trim()).toBe(version)
    expect(
      execFileSync(command, ['get', '["stock","desk"]', '--name', 'shop'], { cwd: project, encoding: 'utf8' }),
    ).toBe('{"$bigint":"1"}\n')
  })

  it('without its native packages it is a database in memory, and says what the rest needs', () => {
    const bare = join(folder, 'bare')
    install(bare, '--omit=optional')
    expect(existsSync(join(bare, 'node_modules', 'node-datachannel'))).toBe(false)
    expect(run(bare, withoutNativePackages)).toEqual({
      value: 1,
      joining: ['VALIDATION', expect.stringContaining('npm install node-datachannel')],
      opening: ['VALIDATION', expect.stringContaining('npm install fs-native-extensions')],
    })
  })
})

describe('for the compiler', () => {
  const options = { strict: true, noEmit: true, target: 'ES2022', types: [], skipLibCheck: false }
  const resolutions: Readonly<Record<string, object>> = {
    NodeNext: { module: 'NodeNext', moduleResolution: 'NodeNext', lib: ['ES2022', 'ESNext.Disposable'] },
    Bundler: { module: 'ESNext', moduleResolution: 'Bundler', lib: ['ES2022', 'DOM', 'DOM.Iterable'] },
    'Bundler, as a browser': {
      module: 'ESNext',
      moduleResolution: 'Bundler',
      lib: ['ES2022'],
      customConditions: ['browser'],
    },
  }
  for (const [name, resolution] of Object.entries(resolutions)) {
    it(`its declarations are whole and exact: ${name}`, () => {
      const at = join(project, `types-${name.replace(/\W/g, '')}`)
      mkdirSync(at)
      writeFileSync(join(at, 'main.ts'), typedProgram)
      writeFileSync(join(at, 'worker.ts'), `import 'harmonydb/worker'\n`)
      const config = { compilerOptions: { ...options, ...resolution }, include: ['*.ts'] }
      writeFileSync(join(at, 'tsconfig.json'), JSON.stringify(config))
      const tsc = join(root, 'node_modules/typescript/bin/tsc')
      const { stdout } = spawnSync(process.execPath, [tsc, '-p', at], { encoding: 'utf8', timeout: 120_000 })
      expect(stdout).toBe('')
    })
  }
})

describe('in a Vite app', () => {
  let browser: Browser

  beforeAll(async () => {
    const executablePath = findChromium()
    if (executablePath === undefined) throw new Error(chromiumAdvice)
    browser = await chromium.launch({ executablePath })
  })
  afterAll(() => browser?.close())

  for (const [name, { html, main }] of Object.entries(pages)) {
    it(`it is durable in a real browser: ${name}`, async () => {
      const at = join(project, `vite-${name.replace(/\W/g, '')}`)
      mkdirSync(at)
      writeFileSync(join(at, 'index.html'), html)
      writeFileSync(join(at, 'main.js'), main)
      const shared = { root: at, configFile: false, logLevel: 'error', worker: { format: 'es' } } as const
      await build({ ...shared, build: { outDir: 'dist' } })
      const server = await preview({ ...shared, preview: { host: '127.0.0.1', port: 0 } })
      const context = await browser.newContext()
      try {
        const tab = await context.newPage()
        const problems: string[] = []
        tab.on('pageerror', error => problems.push(String(error)))
        tab.on('console', message => message.type() === 'error' && problems.push(message.text()))
        const visit = async (): Promise<unknown> => {
          await tab.goto(server.resolvedUrls?.local[0] ?? '')
          await tab.waitForFunction(() => document.title !== 'consumer', undefined, { timeout: 30_000 })
          const title = await tab.title()
          return title.startsWith('{') ? JSON.parse(title) : title
        }
        // Only workers have the file system.
        const storage = name === 'no worker' ? 'indexeddb' : 'opfs'
        expect(await visit()).toEqual({ before: null, after: 1, refused: true, storage })
        expect(await visit()).toEqual({ before: 1, after: 2, refused: true, storage })
        expect(problems).toEqual([])
      } finally {
        await context.close()
        await server.close()
      }
    })
  }
})
