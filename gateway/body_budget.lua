-- Limits the memory that JSON bodies of one client may hold in this thread of Envoy: the gateway
-- buffers them, and Envoy cannot reset the largest ones of HTTP/1.1. `BUDGET_BYTES` above is
-- generated. A route whose bodies are buffered states their maximum size in its metadata.

local BUDGET_BYTES = BUDGET_BYTES
local SWEEP_INTERVAL = 1024

-- For each client: the bytes of each call, and the call's handle. Envoy does not report the end of
-- a call, so the handles are weak references: garbage collection removes those of ended calls.
local clients = {}
local calls = 0

local function client_of(headers)
  local address = headers:get("x-envoy-external-address") or ""
  -- A client owns at least a /64 of IPv6.
  return address:match("^%x*:%x*:%x*:%x*:") or address
end

-- The bytes of the calls that have not ended, as far as garbage collection has run.
local function held_bytes(client)
  local total = 0
  for call, bytes in pairs(client.bytes) do
    if client.handles[call] then
      total = total + bytes
    else
      client.bytes[call] = nil
    end
  end
  return total
end

local function forget_clients()
  for address, client in pairs(clients) do
    held_bytes(client)
    if not next(client.bytes) then clients[address] = nil end
  end
end

-- One call is always accepted, whatever its size.
local function fits(client, bytes)
  local held = held_bytes(client)
  return held == 0 or held + bytes <= BUDGET_BYTES
end

local function hold(handle, bytes)
  calls = calls + 1
  if calls % SWEEP_INTERVAL == 0 then forget_clients() end
  local address = client_of(handle:headers())
  local client = clients[address]
  if not client then
    client = { bytes = {}, handles = setmetatable({}, { __mode = "v" }) }
    clients[address] = client
  end
  if not fits(client, bytes) then
    collectgarbage()
    if not fits(client, bytes) then return false end
  end
  client.bytes[calls], client.handles[calls] = bytes, handle
  return true
end

function envoy_on_request(handle)
  local maximum = handle:metadata():get("maximum_bytes")
  if not maximum then return end
  local headers = handle:headers()
  local bytes = tonumber(headers:get("content-length") or "")
  if not bytes then
    -- Envoy resets calls of HTTP/2 that buffer much; they may lack both headers.
    bytes = headers:get("transfer-encoding") and maximum or 0
  end
  if bytes > maximum then
    handle:respond({ [":status"] = "413" }, "")
  elseif bytes > 0 and not hold(handle, bytes) then
    handle:respond({ [":status"] = "429" }, "")
  end
end
