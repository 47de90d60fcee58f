param reportsTopic string
param hubUrl string

@secure()
param key string

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: reportsTopic
}

resource reports 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: 'huntaze'
  properties: {
    destination: {
      endpointType: 'WebHook'
      properties: {
        endpointUrl: '${hubUrl}/v1/email/reports?code=${uriComponent(key)}'
        maxEventsPerBatch: 100
        preferredBatchSizeInKilobytes: 64
      }
    }
    eventDeliverySchema: 'EventGridSchema'
    filter: {
      includedEventTypes: [
        'Microsoft.Communication.EmailDeliveryReportReceived'
      ]
    }
    retryPolicy: {
      maxDeliveryAttempts: 30
      eventTimeToLiveInMinutes: 1440
    }
  }
}
