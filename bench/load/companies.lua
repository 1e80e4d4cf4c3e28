-- As wrk.lua, but requests take turns with so many companies.
local requests = {}
local next = 0

init = function(args)
  local count = tonumber(os.getenv('BENCH_COMPANIES'))
  local first = tonumber(os.getenv('BENCH_FIRST'))
  for nth = 1, count do
    wrk.headers['Procore-Company-Id'] = string.format('%d', first + nth - 1)
    requests[nth] = wrk.format()
  end
end

request = function()
  next = next % #requests + 1
  return requests[next]
end

done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"durationUs":%d,"failed":%d,"p50Us":%d,"p99Us":%d}\n',
    summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
