// The house itself: what the docs say of the code is held against the code.
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import t from 'tap'
import { architecturePage, purposeOf, sourceFiles } from '../scripts/architecture.ts'
import { ERROR_KINDS } from '../src/errors.ts'

const root = join(import.meta.dirname, '..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const files = sourceFiles(root)

/** Left to right: nothing imports from a layer on its right. */
const LAYERS = [
  'errors',
  'config',
  'network',
  'http1',
  'auth',
  'routing',
  'guards',
  'observe',
  'forward',
  'server',
  'fake',
  'cli',
]
const layerOf = (file: string) => LAYERS.indexOf(/^src\/(\w+)/.exec(file)?.[1] ?? '')

/** Sources without a test file of their own name, and the test that covers each. */
const TESTED_BY: Record<string, string> = {
  'src/auth/backoff.ts': 'test/auth/token-source.test.ts',
  'src/auth/token-failure.ts': 'test/auth/request-token.test.ts',
  'src/auth/tokens.ts': 'test/auth/token-source.test.ts',
  'src/cli/check-run.ts': 'test/cli/check.test.ts',
  'src/cli/completion-run.ts': 'test/cli/completion.test.ts',
  'src/cli/config-options.ts': 'test/cli/start.test.ts',
  'src/cli/demo-run.ts': 'test/cli/demo.test.ts',
  'src/cli/exit.ts': 'test/cli/main.test.ts',
  'src/cli/heap.ts': 'test/cli/start.test.ts',
  'src/cli/init-file.ts': 'test/cli/init.test.ts',
  'src/cli/init-run.ts': 'test/cli/init.test.ts',
  'src/cli/local-url.ts': 'test/cli/wait.test.ts',
  'src/cli/output.ts': 'test/cli/main.test.ts',
  'src/cli/run.ts': 'test/cli/start.test.ts',
  'src/cli/schema.ts': 'test/cli/main.test.ts',
  'src/cli/table.ts': 'test/cli/check.test.ts',
  'src/cli/token-run.ts': 'test/cli/token.test.ts',
  'src/cli/status-run.ts': 'test/cli/status.test.ts',
  'src/config/config.ts': 'test/config/assemble.test.ts',
  'src/forward/connections.ts': 'test/forward/forwarding.test.ts',
  'src/forward/dispatch.ts': 'test/forward/authorize.test.ts',
  'src/forward/forwarder.ts': 'test/forward/forwarding.test.ts',
  'src/forward/http-proxy.ts': 'test/forward/forwarding.test.ts',
  'src/forward/http2-pool.ts': 'test/flow/http2.test.ts',
  'src/forward/passing-handler.ts': 'test/forward/pace.test.ts',
  'src/forward/problem.ts': 'test/errors.test.ts',
  'src/observe/counts.ts': 'test/observe/metrics.test.ts',
  'src/observe/excerpt.ts': 'test/observe/recorded-body.test.ts',
  'src/observe/exchange.ts': 'test/observe/log.test.ts',
  'src/observe/likely-causes.ts': 'test/cli/check.test.ts',
  'src/observe/live.ts': 'test/observe/metrics.test.ts',
  'src/observe/mask.ts': 'test/observe/log.test.ts',
  'src/observe/own-files.ts': 'test/cli/program.test.ts',
  'src/observe/mask-json.ts': 'test/observe/mask-body.test.ts',
  'src/observe/readable.ts': 'test/observe/log.test.ts',
  'src/observe/request-id.ts': 'test/observe/log.test.ts',
  'src/observe/tally.ts': 'test/observe/metrics.test.ts',
  'src/observe/trace-context.ts': 'test/flow/tracing.test.ts',
  'src/observe/tracing.ts': 'test/flow/tracing.test.ts',
  'src/observe/version.ts': 'test/cli/main.test.ts',
  'src/server/health.ts': 'test/server.test.ts',
  'src/server/observation.ts': 'test/observe/status.test.ts',
  'src/server/placeholder-login.ts': 'test/server.test.ts',
  'src/server/pages.ts': 'test/server.test.ts',
  'src/server/reception.ts': 'test/server.test.ts',
  'src/auth/live-token.ts': 'test/auth/token-source.test.ts',
  'src/auth/token-unavailable.ts': 'test/auth/token-source.test.ts',
  'src/forward/held-endpoints.ts': 'test/forward/budget.test.ts',
  'src/forward/rate-windows.ts': 'test/forward/budget.test.ts',
  'src/forward/waiting-line.ts': 'test/forward/budget.test.ts',
  'src/shared/budget-scripts.ts': 'test/shared/shared-budget.test.ts',
  'src/shared/redis-connection.ts': 'test/shared/redis-link.test.ts',
  'src/shared/script.ts': 'test/shared/redis-link.test.ts',
  'src/shared/sealed.ts': 'test/shared/shared-tokens.test.ts',
  'src/shared/token-scripts.ts': 'test/shared/shared-tokens.test.ts',
  'src/http1/handler.ts': 'test/http1/connection.test.ts',
  'src/forward/retry.ts': 'test/forward/pace.test.ts',
  'src/server/refusal.ts': 'test/attacks/framing.test.ts',
}

t.test('every source file says in its first line what it is for', async (t) => {
  for (const file of files) t.match(purposeOf(root, file), /^[A-Z`].{15,}/, file)
})

t.test('the file map of docs/architecture.md lists every source file', async (t) => {
  t.equal(architecturePage(root), read('docs/architecture.md'), 'fresh: else run npm run generate')
  t.match(read('docs/architecture.md'), LAYERS.join(' → '), 'the layers are those of this test')
})

t.test('imports go from right to left', async (t) => {
  for (const file of files) {
    t.not(layerOf(file), -1, `${file} is in a layer`)
    for (const [, to = ''] of read(file).matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)) {
      const target = normalize(join(dirname(file), to)).replaceAll('\\', '/')
      t.ok(existsSync(join(root, target)), `${file} imports ${target}, which exists`)
      t.ok(layerOf(target) <= layerOf(file), `${file} may import ${target}`)
    }
  }
})

t.test('every source file has a test', async (t) => {
  for (const file of files) {
    const twin = file.replace(/^src\//, 'test/').replace(/\.ts$/, '.test.ts')
    const test = TESTED_BY[file] ?? twin
    t.ok(existsSync(join(root, test)), `${file} is tested by ${test}`)
  }
  for (const file of Object.keys(TESTED_BY)) t.ok(files.includes(file), `${file} exists`)
})

t.test('docs/errors.md and the error table list the same codes and statuses', async (t) => {
  const page = read('docs/errors.md')
  const documented = [...page.matchAll(/^## ([a-z_]+)\n\n(\d{3})\b/gm)].map(([, code, status]) => [
    code,
    Number(status),
  ])
  t.strictSame(
    documented,
    Object.entries(ERROR_KINDS).map(([code, { status }]) => [code, status]),
  )
})

t.test('the README names commands and files that exist', async (t) => {
  const pages = globSync(['*.md', 'docs/*.md', 'deploy/*/README.md'], { cwd: root })
  t.ok(pages.length > 15)
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  for (const page of pages) {
    for (const [, link = ''] of read(page).matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
      t.ok(existsSync(join(root, dirname(page), link)), `${page} links to ${link}`)
    }
    for (const [, path = ''] of read(page).matchAll(
      /`((?:src|docs|scripts|test|config|deploy|bench)\/[\w./-]+\.\w+)`/g,
    )) {
      t.ok(existsSync(join(root, path)), `${page} names ${path}`)
    }
    for (const [, name = ''] of read(page).matchAll(/\bnpm (?:run (?:--silent )?([a-z][\w:]*)|test\b)/g))
      t.ok((name || 'test') in scripts, `${page}: npm run ${name}`)
  }
})

t.test('the runtime needs few packages, all under licences that we accept', async (t) => {
  const lock = JSON.parse(read('package-lock.json')) as {
    packages: Record<string, { dev?: boolean; license?: string; hasInstallScript?: boolean }>
  }
  const runtime = Object.entries(lock.packages).filter(([path, { dev }]) => path !== '' && !dev)
  t.ok(runtime.length <= 85, `${runtime.length} packages`)
  for (const [path, { license, hasInstallScript }] of runtime) {
    t.match(license, /^(MIT|ISC|Apache-2\.0|BlueOak-1\.0\.0|BSD-[23]-Clause|0BSD)$/, path)
    t.notOk(hasInstallScript, `${path} runs nothing at install`)
  }
})
