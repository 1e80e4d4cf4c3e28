// Twin of src/http1/handler.ts: what a handler throws when it is told of an error cuts nobody else short.
import { once } from 'node:events'
import t from 'tap'
import { type Controller, tellError } from '../../src/http1/handler.ts'
import { Asked } from './asking.ts'

const controller: Controller = {
  aborted: false,
  paused: false,
  reason: null,
  abort() {},
  pause() {},
  resume() {},
}

t.test('A handler is told, and what it throws comes up in a turn of its own', async (t) => {
  const error = new Error('what went wrong')
  const asked = new Asked()
  tellError(asked, controller, error)
  t.equal(asked.error, error)
  const defect = new Error('a defect')
  const defective = new Asked({
    onResponseError: () => {
      throw defect
    },
  })
  const before = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  t.teardown(() => {
    for (const listener of before) process.on('uncaughtException', listener)
  })
  const thrown = once(process, 'uncaughtException')
  tellError(defective, controller, error)
  t.equal(defective.error, error)
  t.equal((await thrown)[0], defect)
})
