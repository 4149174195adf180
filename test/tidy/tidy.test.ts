/** The rules against the tree, and each rule against a sample that breaks it: a rule that cannot fail proves nothing. */
import { describe, expect, it } from 'vitest'
import {
  ambientEffects,
  bannedComments,
  bannedConstructs,
  barrels,
  emptyFileNames,
  fileLinesMax,
  longFiles,
  machinePaths,
  missingHeaders,
  promisesBelowDatabase,
} from './language.ts'
import { brokenImports, cycles, deadFiles, importDirection, raftMeetsStorage } from './layers.ts'
import { readTree, shown, type Tree, treeOf, type Violation } from './tree.ts'

interface Sample {
  readonly files: Readonly<Record<string, string>>
  /** One for each violation expected: `path:line`. */
  readonly breaks: readonly string[]
}

interface Rule {
  readonly title: string
  readonly check: (tree: Tree) => Violation[]
  readonly samples: readonly Sample[]
}

const lines = (count: number): string => '// a line\n'.repeat(count)
const mark = (...parts: string[]): string => parts.join('')

const rules: readonly Rule[] = [
  {
    title: 'imports go down only',
    check: tree => importDirection(tree),
    samples: [
      { files: { 'src/raft/a.ts': `import '../storage/b.ts'`, 'src/storage/b.ts': '' }, breaks: ['src/raft/a.ts:1'] },
      { files: { 'src/storage/a.ts': `import '../raft/b.ts'`, 'src/raft/b.ts': '' }, breaks: ['src/storage/a.ts:1'] },
      {
        files: { 'src/base/a.ts': `\nexport type { B } from '../platform.ts'`, 'src/platform.ts': '' },
        breaks: ['src/base/a.ts:2'],
      },
      {
        files: { 'src/shard/a.ts': `const b = import('../cluster/b.ts')`, 'src/cluster/b.ts': '' },
        breaks: ['src/shard/a.ts:1'],
      },
      {
        files: { 'src/shard/a.ts': `type B = import('../cluster/b.ts').B`, 'src/cluster/b.ts': '' },
        breaks: ['src/shard/a.ts:1'],
      },
      {
        files: { 'src/index.ts': `import '../platform/node/a.ts'`, 'platform/node/a.ts': '' },
        breaks: ['src/index.ts:1'],
      },
      {
        files: { 'platform/node/storage/a.ts': `import '../../../src/index.ts'`, 'src/index.ts': '' },
        breaks: ['platform/node/storage/a.ts:1'],
      },
      {
        files: { 'platform/browser/page/a.ts': `import '../worker/b.ts'`, 'platform/browser/worker/b.ts': '' },
        breaks: ['platform/browser/page/a.ts:1'],
      },
      {
        files: { 'platform/simulation/a.ts': `import '../node/b.ts'`, 'platform/node/b.ts': '' },
        breaks: ['platform/simulation/a.ts:1'],
      },
      { files: { 'src/cluster/a.ts': `import '../../test/b.ts'`, 'test/b.ts': '' }, breaks: ['src/cluster/a.ts:1'] },
      // What is allowed: down, oneself, and an entry to the public surface.
      {
        files: {
          'platform/node/entry.ts': `import '../../src/index.ts'\nimport './a.ts'`,
          'platform/node/a.ts': `import '../network/b.ts'\nimport '../../src/platform.ts'`,
          'platform/network/b.ts': '',
          'src/platform.ts': '',
          'src/index.ts': `import './rpc/c.ts'`,
          'src/rpc/c.ts': '',
        },
        breaks: [],
      },
    ],
  },
  {
    title: 'raft and storage meet only in shard/',
    check: raftMeetsStorage,
    samples: [
      {
        files: {
          'src/cluster/a.ts': `import { r } from '../raft/r.ts'\nimport { s } from '../storage/s.ts'`,
          'src/shard/a.ts': `import { r } from '../raft/r.ts'\nimport { s } from '../storage/s.ts'`,
          'src/cluster/types.ts': `import type { r } from '../raft/r.ts'\nimport { type s } from '../storage/s.ts'`,
          'src/raft/r.ts': '',
          'src/storage/s.ts': '',
        },
        breaks: ['src/cluster/a.ts:1'],
      },
    ],
  },
  {
    title: 'relative imports name a file, with its extension',
    check: brokenImports,
    samples: [
      {
        files: { 'src/base/a.ts': `import './b'\nimport './b.js'\nimport './b.ts'`, 'src/base/b.ts': '' },
        breaks: ['src/base/a.ts:1', 'src/base/a.ts:2'],
      },
    ],
  },
  {
    title: 'there are no import cycles',
    check: cycles,
    samples: [
      {
        files: {
          'src/base/a.ts': `import './b.ts'`,
          'src/base/b.ts': `import type { C } from './c.ts'`,
          'src/base/c.ts': `import './a.ts'\nimport './d.ts'`,
          'src/base/d.ts': '',
        },
        breaks: ['src/base/a.ts:1'],
      },
    ],
  },
  {
    title: 'no file is dead',
    check: deadFiles,
    samples: [
      {
        files: {
          'platform/node/entry.ts': `import { a } from '../../src/base/a.ts'\nnew URL('../../src/base/w.ts', import.meta.url)`,
          'src/base/a.ts': '',
          'src/base/w.ts': '',
          'src/base/dead.ts': `import './deader.ts'`,
          'src/base/deader.ts': '',
          'test/unit/a.test.ts': `import './kit.ts'`,
          'test/unit/kit.ts': '',
          'demo/index.html': `<script src="./main.ts"></script>`,
          'demo/main.ts': '',
          'notes.md': '`src/base/dead.ts`',
        },
        breaks: ['src/base/dead.ts:1', 'src/base/deader.ts:1'],
      },
    ],
  },
  {
    title: 'src/ takes no time, randomness or effects from its surroundings',
    check: ambientEffects,
    samples: [
      {
        files: {
          'src/base/a.ts': [
            'const a = Date.now()',
            'const b = new Date()',
            'const c = Math.random()',
            'setTimeout(() => {}, 1)',
            'console.log(1)',
            'const d = globalThis.performance',
            'const e = process.env',
            'const f = crypto.getRandomValues',
            'const g = "a".localeCompare("b")',
            'queueMicrotask(() => {})',
            'const h = { setTimeout }',
          ].join('\n'),
        },
        breaks: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].map(line => `src/base/a.ts:${line}`),
      },
      {
        files: {
          'src/base/a.ts':
            'const a = new Date(0)\nfunction f(self: string, o: { window: number }) { return self + o.window }',
          'platform/node/a.ts': 'const a = Date.now()',
        },
        breaks: [],
      },
    ],
  },
  {
    title: 'no promises below database/',
    check: promisesBelowDatabase,
    samples: [
      {
        files: {
          'src/cluster/a.ts': 'export async function f() {}\nexport type P = Promise<void>\nconst g = async () => {}',
          'src/database/a.ts': 'export async function f() {}',
        },
        breaks: ['src/cluster/a.ts:1', 'src/cluster/a.ts:2', 'src/cluster/a.ts:3'],
      },
    ],
  },
  {
    title: 'no any, no enum, no namespace, no export *, no export default',
    check: bannedConstructs,
    samples: [
      {
        files: {
          'src/base/a.ts': [
            'const a: any = 1',
            'enum E { A }',
            `export * from './b.ts'`,
            `export * as c from './b.ts'`,
            'export default 1',
            'namespace N { export const a = 1 }',
            'const any = 2',
            'export default function f() {}',
            'const b = [] as any[]',
          ].join('\n'),
          'vite.config.ts': 'export default {}',
        },
        breaks: [1, 2, 3, 4, 5, 6, 8, 9].map(line => `src/base/a.ts:${line}`),
      },
    ],
  },
  {
    title: 'no barrels',
    check: barrels,
    samples: [
      {
        files: {
          'src/base/all.ts': `export { a } from './a.ts'\nexport type { b } from './b.ts'`,
          'src/index.ts': `export { a } from './base/a.ts'`,
        },
        breaks: ['src/base/all.ts:1'],
      },
    ],
  },
  {
    title: 'nothing is silenced or left for later in a comment',
    check: bannedComments,
    samples: [
      {
        files: {
          'src/base/a.ts': [
            mark('// @ts-', 'ignore'),
            mark('/* TO', 'DO: more */'),
            // biome-ignore lint/suspicious/noTemplateCurlyInString: a sample of code
            mark('const a = `${ { b: 1 }.b } TO', 'DO`'),
            mark('const c = 1 // FIX', 'ME'),
            '// @ts-expect-error is for tests of types',
          ].join('\n'),
        },
        breaks: ['src/base/a.ts:1', 'src/base/a.ts:2', 'src/base/a.ts:4'],
      },
    ],
  },
  {
    title: 'every file of the library says what it is for',
    check: missingHeaders,
    samples: [
      {
        files: {
          'src/base/a.ts': 'const a = 1',
          'src/base/b.ts': '/** Bytes. */\nconst a = 1',
          'src/base/c.ts': '/** What bytes are compared with, here and there and everywhere. */\nconst a = 1',
          'platform/node/cli/d.ts':
            '#!/usr/bin/env node\n/** The command line: reads its arguments, calls a command. */',
          'test/unit/e.test.ts': 'const a = 1',
        },
        breaks: ['src/base/a.ts:1', 'src/base/b.ts:1'],
      },
    ],
  },
  {
    title: `no file has more than ${fileLinesMax} lines`,
    check: longFiles,
    samples: [
      {
        files: { 'src/base/a.ts': lines(fileLinesMax + 1), 'src/base/b.ts': lines(fileLinesMax), 'a.md': lines(900) },
        breaks: [`src/base/a.ts:${fileLinesMax}`],
      },
    ],
  },
  {
    title: 'no name says nothing',
    check: emptyFileNames,
    samples: [
      {
        files: {
          'src/utils/a.ts': '',
          'src/base/helpers.ts': '',
          'src/base/common.test.ts': '',
          'src/base/commons.ts': '',
        },
        breaks: ['src/utils/a.ts:1', 'src/base/helpers.ts:1'],
      },
    ],
  },
  {
    title: 'no path of one machine stands in the tree',
    check: machinePaths,
    samples: [
      {
        files: {
          'src/base/a.ts': [
            mark(`const a = '`, '/work', `/x'`),
            mark('// see ', '/home', '/me/notes'),
            mark(`const c = 'C:`, `\\Users'`),
            `const b = '/usr/bin/chromium' + 'https://example.com/home/x' + '../src/work/a'`,
          ].join('\n'),
        },
        breaks: ['src/base/a.ts:1', 'src/base/a.ts:2', 'src/base/a.ts:3'],
      },
    ],
  },
]

const tree = readTree()

describe('the tree', () => {
  it('was read', () => {
    expect(tree.size).toBeGreaterThan(100)
    expect(tree.get('src/index.ts')?.imports.length).toBeGreaterThan(5)
  })
  for (const { title, check } of rules) {
    it(title, () => {
      expect(shown(check(tree))).toBe('')
    })
  }
})

describe('the rules find what breaks them', () => {
  for (const { title, check, samples } of rules) {
    it(title, () => {
      for (const { files, breaks } of samples) {
        const found = check(treeOf(files)).map(({ path, line }) => `${path}:${line}`)
        expect(found.sort()).toEqual([...breaks].sort())
      }
    })
  }
})
