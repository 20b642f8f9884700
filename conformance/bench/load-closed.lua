-- wrk: POST with a body; the result as one line of JSON.
-- After "--": body length, then header name, header value, ...
function init(args)
  wrk.method = "POST"
  wrk.body = string.rep("x", tonumber(args[1]))
  for i = 2, #args, 2 do
    wrk.headers[args[i]] = args[i + 1]
  end
  wrk.headers["Content-Type"] = "application/octet-stream"
  -- No request() here: wrk then builds the request once. Calling Lua for each would cost more than a proxy does.
end

function done(summary, latency, requests)
  local e = summary.errors
  print(string.format(
    '{"requests":%d,"durationUs":%d,"bytes":%d,"errors":%d,"p50Us":%.1f,"p99Us":%.1f}',
    summary.requests, summary.duration, summary.bytes,
    e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
