// What wakes somebody: dead letters, a backlog that does not drain or never ends, failing endpoints, the bill.

param location string
param name string
param tags object
param alertEmail string
param serviceBusId string
param workspaceId string

@description('Messages of one topic that may wait at every moment of a quarter of an hour.')
param backlogMessages int

@description('Dollars a month for the whole group. A mail when 80 % is spent, and when 100 % is foreseen.')
param monthlyBudgetUsd int

@description('The first day of a month. Cannot be changed afterwards: the budget keeps the one it has.')
param budgetStart string

// Each topic by itself. Over both, the least that waits is what waits in the idle one.
var everyTopic = [
  {
    name: 'EntityName'
    operator: 'Include'
    values: [
      '*'
    ]
  }
]

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: '${name}-people'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'huntaze'
    enabled: true
    emailReceivers: [
      {
        name: 'owner'
        emailAddress: alertEmail
        useCommonAlertSchema: true
      }
    ]
  }
}

resource deadLetters 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: '${name}-dead-letters'
  location: 'global'
  tags: tags
  properties: {
    description: 'A message of the topic is in the dead letters: list them with huntaze dead-letters list, replay what is mended.'
    severity: 1
    enabled: true
    scopes: [
      serviceBusId
    ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT5M'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          name: 'dead-letters'
          criterionType: 'StaticThresholdCriterion'
          metricName: 'DeadletteredMessages'
          metricNamespace: 'Microsoft.ServiceBus/namespaces'
          operator: 'GreaterThan'
          threshold: 0
          timeAggregation: 'Maximum'
          dimensions: everyTopic
        }
      ]
    }
    actions: [
      {
        actionGroupId: people.id
      }
    ]
  }
}

// Service Bus tells no age. A backlog that was never below the line for fifteen minutes has one.
resource backlog 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: '${name}-backlog'
  location: 'global'
  tags: tags
  properties: {
    description: 'More messages of the topic than backlogMessages have been waiting at every moment of a quarter of an hour: the workbook shows which functions run, and what fails.'
    severity: 2
    enabled: true
    scopes: [
      serviceBusId
    ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          name: 'backlog'
          criterionType: 'StaticThresholdCriterion'
          metricName: 'ActiveMessages'
          metricNamespace: 'Microsoft.ServiceBus/namespaces'
          operator: 'GreaterThan'
          threshold: backlogMessages
          timeAggregation: 'Minimum'
          dimensions: everyTopic
        }
      ]
    }
    actions: [
      {
        actionGroupId: people.id
      }
    ]
  }
}

// A few messages that nobody takes never make a count. That none went for an hour is seen at one.
resource waiting 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: '${name}-waiting'
  location: 'global'
  tags: tags
  properties: {
    description: 'For a whole hour there was no moment at which no message of the topic waited or was in hand: the workbook shows which functions run, and what fails.'
    severity: 2
    enabled: true
    scopes: [
      serviceBusId
    ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT1H'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          name: 'waiting'
          criterionType: 'StaticThresholdCriterion'
          metricName: 'ActiveMessages'
          metricNamespace: 'Microsoft.ServiceBus/namespaces'
          operator: 'GreaterThan'
          threshold: 0
          timeAggregation: 'Minimum'
          dimensions: everyTopic
        }
      ]
    }
    actions: [
      {
        actionGroupId: people.id
      }
    ]
  }
}

resource failing 'Microsoft.Insights/scheduledQueryRules@2022-06-15' = {
  name: '${name}-failing'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'Huntaze: deliveries fail'
    description: '20 failed attempts or more at one target of a tenant in half an hour: look at the endpoint in the console, or at what carries mails.'
    severity: 2
    enabled: true
    scopes: [
      workspaceId
    ]
    evaluationFrequency: 'PT15M'
    windowSize: 'PT30M'
    criteria: {
      allOf: [
        {
          query: loadTextContent('../queries/failing.kql')
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
        }
      ]
    }
    autoMitigate: true
    skipQueryValidation: true
    actions: {
      actionGroups: [
        people.id
      ]
    }
  }
}

resource budget 'Microsoft.Consumption/budgets@2023-05-01' = {
  name: '${name}-budget'
  properties: {
    category: 'Cost'
    amount: monthlyBudgetUsd
    timeGrain: 'Monthly'
    timePeriod: {
      startDate: budgetStart
    }
    notifications: {
      most: {
        enabled: true
        operator: 'GreaterThanOrEqualTo'
        threshold: 80
        thresholdType: 'Actual'
        contactEmails: [
          alertEmail
        ]
      }
      all: {
        enabled: true
        operator: 'GreaterThanOrEqualTo'
        threshold: 100
        thresholdType: 'Forecasted'
        contactEmails: [
          alertEmail
        ]
      }
    }
  }
}
