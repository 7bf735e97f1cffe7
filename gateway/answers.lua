-- Makes answers to HTTP clients fit for them; answers to gRPC clients pass as they are.

local INTERNAL = {
  "grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-accept-encoding",
  "grpc-encoding", "x-http-code",
}

local function is_grpc(headers)
  local content_type = headers:get("content-type") or ""
  return content_type:sub(1, 16) == "application/grpc"
end

local function remove_internal(headers)
  for _, name in ipairs(INTERNAL) do headers:remove(name) end
end

function envoy_on_request(handle)
  local headers = handle:headers()
  -- Only the transcoder says how what it makes is encoded.
  if not is_grpc(headers) then remove_internal(headers) end
end

-- The status that a service asks for with an error. It stands in the trailers when
-- the service had sent its headers before; reading the short body holds ours back.
local function asked_status(handle, headers)
  local asked = headers:get("x-http-code")
  if not asked then
    handle:body()
    local trailers = handle:trailers()
    asked = trailers and trailers:get("x-http-code")
  end
  return asked and asked:match("^[45]%d%d$")
end

function envoy_on_response(handle)
  local headers = handle:headers()
  if is_grpc(headers) then return end
  if (headers:get("content-type") or ""):sub(1, 17) == "text/event-stream" then
    headers:replace("cache-control", "no-cache")
    headers:replace("x-accel-buffering", "no")
  end
  if tonumber(headers:get(":status")) >= 400 then
    local status = asked_status(handle, headers)
    if status then headers:replace(":status", status) end
  end
  remove_internal(headers)
  local trailers = handle:trailers()
  if trailers then remove_internal(trailers) end
end
