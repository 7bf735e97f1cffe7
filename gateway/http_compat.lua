-- Adapts requests of HTTP clients to the transcoder, and responses to HTTP clients.
-- gRPC requests and responses pass unchanged. docs/gateway.md lists every header.
-- A reference from handle:headers() is invalid after a wait, so each use fetches it again.

local INTERNAL = {
  "grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-encoding",
  "grpc-accept-encoding", "x-http-code", "x-envoy-upstream-healthchecked-cluster",
}

local function is_grpc(headers)
  return (headers:get("content-type") or ""):sub(1, 16) == "application/grpc"
end

local function remove_internal(headers)
  for _, name in ipairs(INTERNAL) do headers:remove(name) end
end

-- The transcoder matches verbs such as `:cancel` by a plain colon; some clients encode it.
local function decode_verb(path)
  return (path:gsub("^([^?]*)%%3[Aa](%l+)%f[?%z]", "%1:%2"))
end

-- The transcoder accepts an enum's full names only; `view=FULL` is the short form.
local function expand_view(path)
  return (path:gsub("([?&]view=)(%a+)%f[&%z]", function(parameter, view)
    return parameter .. "TOKEN_VIEW_" .. view:upper()
  end))
end

local TUS_VERSION = "1.0.0"

local function is_tus(path)
  return path:match("^/uploads%f[/?%z]") ~= nil
end

-- tus lets clients that can only send POST name the real method in a header.
local OVERRIDES = { HEAD = true, PATCH = true, DELETE = true }

local function override_method(headers)
  local method = headers:get("x-http-method-override")
  if headers:get(":method") == "POST" and OVERRIDES[method] then
    headers:replace(":method", method)
  end
end

-- The first field of a gRPC message, whose 5 bytes of frame and 2 of field precede the text.
local function first_text(message)
  if #message < 7 or message:byte(6) ~= 0x0A then return "" end
  return message:sub(8, 7 + message:byte(7))
end

-- Each service knows its own health only, so the name that a call asks for selects the service.
local function name_health_service(handle)
  local path = handle:headers():get(":path") or ""
  handle:headers():remove("x-health-service")
  if not path:match("^/grpc%.health%.v1%.Health/") then return end
  local body = handle:body()
  local name = body and first_text(body:getBytes(0, math.min(body:length(), 256))) or ""
  if name:match("^[%w._]+$") then handle:headers():replace("x-health-service", name) end
end

function envoy_on_request(handle)
  if is_grpc(handle:headers()) then
    name_health_service(handle)
    -- gRPC-Web and Connect became gRPC after their route was chosen.
    handle:clearRouteCache()
    return
  end
  -- These headers belong to gRPC; the transcoder adds its own.
  remove_internal(handle:headers())
  local path = handle:headers():get(":path") or ""
  if is_tus(path) then
    override_method(handle:headers())
    local method = handle:headers():get(":method")
    handle:streamInfo():dynamicMetadata():set("sori", "tus_method", method)
  end
  local adapted = expand_view(decode_verb(path))
  if adapted ~= path then handle:headers():replace(":path", adapted) end
end

-- The HTTP status that a service requests for an error. It is in the trailers if the service
-- had already sent its headers; waiting for the short body delays our headers until then.
local function requested_error_status(handle)
  local status = handle:headers():get("x-http-code")
  if not status and handle:body() then
    local trailers = handle:trailers()
    status = trailers and trailers:get("x-http-code")
  end
  return status and status:match("^[45]%d%d$")
end

-- The HTTP status that a service requests for a success. Such a response has no body.
local function requested_success_status(headers)
  local status = headers:get("x-http-code")
  if not status or not status:match("^20%d$") then return end
  headers:remove("content-type")
  if status == "204" then headers:remove("content-length") end
  return status
end

-- The method of a tus request; nil for every other request.
local function tus_method(handle)
  local metadata = handle:streamInfo():dynamicMetadata():get("sori")
  return metadata and metadata.tus_method
end

-- The transcoder adds a body to errors, even in response to HEAD.
local function drop_body(handle)
  local body = handle:body()
  if body then body:setBytes("") end
  handle:headers():replace("content-length", "0")
  handle:headers():remove("content-type")
end

-- Local replies need the version, too.
local function add_tus_version(headers)
  headers:replace("tus-resumable", TUS_VERSION)
  headers:replace("tus-version", TUS_VERSION)
end

function envoy_on_response(handle)
  if is_grpc(handle:headers()) then return end
  local method = tus_method(handle)
  local status
  if tonumber(handle:headers():get(":status")) >= 400 then
    status = requested_error_status(handle)
  elseif method then
    status = requested_success_status(handle:headers())
  end
  if status then handle:headers():replace(":status", status) end
  if method == "HEAD" then drop_body(handle) end
  if method then add_tus_version(handle:headers()) end
  remove_internal(handle:headers())
  if (handle:headers():get("content-type") or ""):sub(1, 17) == "text/event-stream" then
    handle:headers():replace("cache-control", "no-cache")
    handle:headers():replace("x-accel-buffering", "no")
  end
  local trailers = handle:trailers()
  if trailers then remove_internal(trailers) end
end
