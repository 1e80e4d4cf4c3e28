// The program as a whole, in the form that is tried: the sources, the bundle (`test:bundle`), the executable (`sea:test`).
import t from 'tap'
import { MAIN, startPlace } from '../fixtures/cli.ts'
import { serves } from '../fixtures/program.ts'

t.test('it serves', async (t) => serves(t, await startPlace(t), MAIN))
