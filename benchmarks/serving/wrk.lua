-- wrk -s wrk.lua URL -- FOLDER [NAME VALUE]...
-- sends the files 0, 1, ... of the folder in turn, with these headers, and ends with a line of JSON.

local requests, number = {}, 0

function init(arguments)
   for index = 2, #arguments, 2 do
      wrk.headers[arguments[index]] = arguments[index + 1]
   end
   local file = io.open(arguments[1] .. "/0", "rb")
   while file do
      requests[#requests + 1] = wrk.format("POST", nil, nil, file:read("*a"))
      file:close()
      file = io.open(arguments[1] .. "/" .. #requests, "rb")
   end
end

function request()
   number = number % #requests + 1
   return requests[number]
end

function done(summary, latency)
   local errors = summary.errors
   local num_failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
   io.write(string.format(
      '\n{"num_requests": %d, "num_failed": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f}\n',
      summary.requests, num_failed, summary.duration / 1e6,
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3
   ))
end
